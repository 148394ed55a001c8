"""Python's ftplib, as two drivers use it."""

import ftplib
import os
import ssl

from lib.driver import SessionDriver, killed, names, package_version

PIECE = 8192


class Ftplib(SessionDriver):
    # PASV and PORT over IPv4, EPSV and EPRT over IPv6: ftplib chooses by the address.
    WAYS = "explicit none tls1.2 tls1.3 pasv epsv port+tls eprt+tls ipv6 byfamily P C verify"
    Ftp = ftplib.FTP_TLS
    ftp = None

    @staticmethod
    def version():
        version = package_version("python3")
        return version and f"ftplib of python3 {version}"

    def open(self):
        self.drop()
        if self.tls == "none":
            ftp = ftplib.FTP(encoding="latin-1", timeout=60)
        else:
            context = ssl.create_default_context(cafile=self.authority)
            wanted = ssl.TLSVersion.TLSv1_2 if self.tls_version == "1.2" else ssl.TLSVersion.TLSv1_3
            context.minimum_version = context.maximum_version = wanted
            ftp = self.Ftp(context=context, encoding="latin-1", timeout=60)
        self.log(ftp.connect(self.host, self.port))
        ftp.login(self.username, self.password)
        if self.tls != "none":
            ftp.prot_p() if self.private else ftp.prot_c()
        ftp.set_pasv(not self.active)
        self.ftp = ftp

    def session(self):
        if self.ftp is None:
            self.open()
        return self.ftp

    def lost(self, error):
        refused = isinstance(error, (ftplib.error_perm, ftplib.error_temp))
        return not refused or str(error).startswith("421")

    def drop(self):
        if self.ftp is not None:
            self.ftp.close()
        self.ftp = None

    def close(self):
        if self.ftp is not None:
            self.ftp.quit()
        self.ftp = None

    end = close

    def list(self, folder):
        lines = self.session().nlst(*([text(folder)] if folder else []))
        return names(line.encode("latin-1") for line in lines)

    def get(self, remote, local):
        with open(local, "wb") as file:
            self.session().retrbinary("RETR " + text(remote), file.write)

    def put(self, local, remote):
        with open(local, "rb") as file:
            self.session().storbinary("STOR " + text(remote), file)

    def append(self, local, remote):
        with open(local, "rb") as file:
            self.session().storbinary("APPE " + text(remote), file)

    def get_rest(self, remote, local):
        with open(local, "ab") as file:
            self.session().retrbinary("RETR " + text(remote), file.write, rest=file.tell())

    def put_rest(self, local, remote):
        ftp = self.session()
        ftp.voidcmd("TYPE I")
        with open(local, "rb") as file:
            offset = file.seek(ftp.size(text(remote)))
            ftp.storbinary("STOR " + text(remote), file, rest=offset)

    def rename(self, old, new):
        self.session().rename(text(old), text(new))

    def delete(self, remote):
        self.session().delete(text(remote))

    def mkdir(self, remote):
        self.session().mkd(text(remote))

    def rmdir(self, remote):
        self.session().rmd(text(remote))

    def begin(self, command):
        self.session().voidcmd("TYPE I")
        return self.ftp.transfercmd(command)

    def abort(self, remote):
        data = self.begin("RETR " + text(remote))
        data.recv(PIECE)
        self.log(self.ftp.abort())
        data.close()
        # abort() reads one reply, and there are two: the transfer's and ABOR's.
        self.log(self.ftp.getmultiline())

    def leave(self, remote):
        data = self.begin("RETR " + text(remote))
        data.recv(PIECE)
        data.close()
        self.drop()

    def leave_put(self, local, remote):
        def begin():
            self.open()
            with open(local, "rb") as file:
                self.begin("STOR " + text(remote)).sendall(file.read(os.path.getsize(local) // 2 + 1))

        killed(begin)


def text(name):
    """Names are bytes; so ftplib is given an encoding that has a character for each."""
    return name.decode("latin-1")
