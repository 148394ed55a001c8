#!/usr/bin/env python3
"""Python's ftplib as a client that takes its orders from standard input.

One JSON object a line in, {"do": NAME, ...}; one out, {"result": ...} or
{"error": TEXT}. The methods of Client are the orders. Names on the server are
bytes, written in JSON as Latin-1. It ends with standard input.
"""

import ftplib
import io
import json
import socket
import ssl
import sys
import traceback


class Ftp(ftplib.FTP_TLS):
    """ftplib itself does not know implicit TLS, and chooses PASV or EPSV by address family."""

    implicit = resume = False
    epsv = eprt = False

    def connect(self, host, port):
        self.host, self.port, self.timeout = host, port, 30
        self.sock = socket.create_connection((host, port), self.timeout)
        self.af = self.sock.family
        if self.implicit:
            self.sock = self.context.wrap_socket(self.sock, server_hostname="localhost")
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        self.host = "localhost"  # what certificates are checked against, on data connections too
        self.peer = host
        return self.welcome

    def makepasv(self):
        if self.epsv:
            return ftplib.parse229(self.sendcmd("EPSV"), self.sock.getpeername())
        host, port = ftplib.parse227(self.sendcmd("PASV"))
        assert host == self.peer, f"the gateway advertised {host}"
        return host, port

    def makeport(self):
        sock = socket.create_server(("", 0), family=self.af, backlog=1)
        host, port = self.sock.getsockname()[0], sock.getsockname()[1]
        self.sendeprt(host, port) if self.eprt else self.sendport(host, port)
        sock.settimeout(self.timeout)
        return sock

    def ntransfercmd(self, cmd, rest=None):
        if not self.resume:
            return super().ntransfercmd(cmd, rest)
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        session = self.sock.session
        return self.context.wrap_socket(conn, server_hostname=self.host, session=session), size


class Client:
    def connect(self, order):
        """A new session, logged in unless the server says no."""
        context = ssl.create_default_context(cafile=order["authority"])
        version = ssl.TLSVersion.TLSv1_2 if order["version"] == "1.2" else ssl.TLSVersion.TLSv1_3
        context.minimum_version = context.maximum_version = version
        self.ftp = ftp = Ftp(context=context, encoding="latin-1")
        ftp.implicit, ftp.resume = order["implicit"], order["resume"]
        ftp.epsv, ftp.eprt = order["data"] == "epsv", order["data"] == "eprt"
        ftp.set_pasv(order["data"] in ("pasv", "epsv"))
        ftp.connect(order["host"], order["port"])
        try:
            if ftp.implicit:
                ftplib.FTP.login(ftp, order["user"], order["password"])
            else:
                ftp.login(order["user"], order["password"])
        except ftplib.error_perm as error:
            ftp.close()
            return str(error)
        ftp.prot_p()
        return "logged in"

    def up(self, order):
        with open(order["local"], "rb") as file:
            return self.ftp.storbinary("STOR " + order["name"], file)

    def stored(self, order):
        """What is said at the end of an upload by any command, or instead of one."""
        try:
            return self.ftp.storbinary(order["command"], io.BytesIO(b"data"))
        except ftplib.Error as error:
            return str(error)

    def down(self, order):
        with open(order["local"], "wb") as file:
            return self.ftp.retrbinary("RETR " + order["name"], file.write)

    def list(self, order):
        """The data as it came."""
        data = []
        self.ftp.retrbinary(order["verb"], data.append)
        return b"".join(data).decode("latin-1")

    def resume_down(self, order):
        with open(order["local"], "ab") as file:
            return self.ftp.retrbinary("RETR " + order["name"], file.write, rest=file.tell())

    def resume_up(self, order):
        """With REST, or with APPE."""
        with open(order["local"], "rb") as file:
            self.ftp.voidcmd("TYPE I")
            size = self.ftp.size(order["name"])
            file.seek(size)
            if order["append"]:
                return self.ftp.storbinary("APPE " + order["name"], file)
            return self.ftp.storbinary("STOR " + order["name"], file, rest=size)

    def change(self, order):
        for command in order["commands"]:
            self.ftp.sendcmd(command)

    def replies(self, order):
        """What is said to each command, whatever it is."""
        replies = []
        for command in order["commands"]:
            try:
                replies.append(self.ftp.sendcmd(command))
            except ftplib.Error as error:
                replies.append(str(error))
        return replies

    def abort_download(self, order):
        """Reads a little, sends ABOR, and hears of both: the transfer and ABOR."""
        self.ftp.voidcmd("TYPE I")
        data = self.ftp.transfercmd("RETR " + order["name"])
        data.recv(1000)
        replies = [self.ftp.abort()[:3]]
        data.close()
        replies.append(self.ftp.getmultiline()[:3])
        return replies

    def abort_upload(self, order):
        self.ftp.voidcmd("TYPE I")
        data = self.ftp.transfercmd("STOR " + order["name"])
        data.sendall(bytes(200_000))
        replies = [self.ftp.abort()[:3]]
        data.close()
        replies.append(self.ftp.getmultiline()[:3])
        return replies

    def quit(self, _):
        return self.ftp.quit()


def main():
    client = Client()
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = {"result": getattr(client, order.pop("do"))(order)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


main()
