"""What drivers written in Python share: the way, words, the loop over commands.

A driver is a class whose public methods are the commands of README.md. They
take their words as bytes and return None or the words of the answer; whatever
they raise is a failure. WAYS are the words of `can` that are no commands.
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from urllib.parse import unquote_to_bytes

COMMANDS = """open close list get put append get_rest put_rest rename delete mkdir rmdir many
    put_folder get_folder abort leave leave_put""".split()
REPOSITORY = Path(__file__).resolve().parents[4]
PEERS = Path(os.environ.get("FTPS_GATEWAY_PEERS") or REPOSITORY / "target/peers").absolute()
SIGKILL_WHEN_PARENT_ENDS = (1, signal.SIGKILL)  # PR_SET_PDEATHSIG of prctl(2)


class Failed(Exception):
    """The client's own words."""


class Driver:
    WAYS = ""

    def __init__(self):
        env = os.environ
        self.host, self.port = env["HOST"], int(env["PORT"])
        self.tls, self.tls_version = env["TLS"], env["VERSION"]
        self.data, self.private = env["DATA"], env["PROT"] == "P"
        self.username, self.password = env["USERNAME"], env["PASSWORD"]
        self.authority, self.scratch = env["AUTHORITY"], Path(env["SCRATCH"])
        self.active = self.data in ("port", "eprt")
        self.extended = self.data in ("epsv", "eprt")

    @staticmethod
    def version():
        """Name and version; None when the client is not there."""
        raise NotImplementedError

    def log(self, text):
        with open(self.scratch / "log", "a", errors="surrogateescape") as log:
            log.write(text.rstrip("\n") + "\n")

    def end(self):
        """Standard input is at its end."""


class SessionDriver(Driver):
    """Of a client that does one thing after another in one session."""

    def lost(self, error):
        """Whether the session cannot go on after this failure."""
        return False

    def drop(self):
        """Forgets the session; the next command begins a new one."""

    def many(self, count, local, folder, back):
        for n in range(int(count)):
            self.put(local, b"%s/%d" % (folder, n))
            self.get(b"%s/%d" % (folder, n), b"%s/%d" % (back, n))

    def put_folder(self, local, remote):
        for name in sorted(os.listdir(local)):
            self.put(local + b"/" + name, remote + b"/" + name)

    def get_folder(self, remote, local):
        for name in self.list(remote):
            self.get(remote + b"/" + name, local + b"/" + name)


def main(driver):
    os.environ["LC_ALL"] = "C.UTF-8"
    version = driver.version()
    if version is None:
        print(f"{sys.argv[0]}: the client is not installed", file=sys.stderr)
        sys.exit(3)
    match sys.argv[1:]:
        case ["can"]:
            print(*driver.WAYS.split(), *(name for name in COMMANDS if hasattr(driver, name)))
        case ["version"]:
            print(version)
        case ["run"]:
            work(driver())
        case _:
            sys.exit(f"usage: {sys.argv[0]} can|version|run")


def work(driver):
    for line in sys.stdin.buffer:
        name, *words = map(unquote_to_bytes, line.rstrip(b"\n").split(b"\t"))
        driver.log(f"> {name.decode()} {words}")
        try:
            if name.decode() not in COMMANDS or not hasattr(driver, name.decode()):
                raise Failed("this driver has no such command")
            words = [b"ok", *(getattr(driver, name.decode())(*words) or ())]
        except Exception as error:
            driver.log(traceback.format_exc())
            if isinstance(driver, SessionDriver) and driver.lost(error):
                driver.drop()
            reason = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
            words = [b"failed", reason.encode(errors="surrogateescape")]
        line = b"\t".join(map(quoted, words))
        driver.log(f"< {line.decode()}")
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
    try:
        driver.end()
    except Exception:
        driver.log(traceback.format_exc())


def quoted(word):
    return re.sub(rb"[%\t\n\r\x7f-\xff]", lambda found: b"%%%02X" % found[0][0], word)


def names(lines):
    """Of what NLST brings: some servers give the folder along, or name it and the one above."""
    found = [line.rpartition(b"/")[2] for line in lines]
    return [name for name in found if name not in (b".", b"..")]


def package_version(package):
    """Debian's, None when it is not installed."""
    words = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package]
    status, _, version = subprocess.run(words, capture_output=True, text=True).stdout.partition(" ")
    return version if status == "installed" else None


def start(words, **options):
    """A client's process, which does not outlive the driver."""
    prctl = ctypes.CDLL(None).prctl
    return subprocess.Popen(words, preexec_fn=lambda: prctl(*SIGKILL_WHEN_PARENT_ENDS), **options)


def wait_for_bytes(process, local):
    """Until a download has brought something of the file."""
    while process.poll() is None:
        if os.path.exists(local) and os.path.getsize(local) > 0:
            return
        time.sleep(0.02)
    raise Failed("the download was over before it could be left")


def wait_for_reading(process, local):
    """Until the process has sent something of the file: it reads it as it sends it."""
    local = os.path.realpath(local)
    while process.poll() is None:
        if position(process.pid, local) > 0:
            time.sleep(0.3)
            if process.poll() is None:
                return
        time.sleep(0.02)
    raise Failed("the upload was over before it could be left")


def position(pid, path):
    """How far the process is in the file that it has open."""
    folder = f"/proc/{pid}/fd"
    for descriptor in os.listdir(folder):
        try:
            if os.readlink(os.fsencode(f"{folder}/{descriptor}")) == path:
                info = Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text()
                return int(re.search(r"pos:\s+(\d+)", info)[1])
        except OSError:
            pass  # closed in the meantime
    return 0


def killed(begin):
    """Has begin() run in a process of its own, which is killed when that returns."""
    pid = os.fork()
    if pid == 0:
        try:
            begin()
            os.kill(os.getpid(), signal.SIGKILL)
        except BaseException as error:
            os.write(2, f"{error}\n".encode())
        os._exit(1)
    if not os.WIFSIGNALED(os.waitpid(pid, 0)[1]):
        raise Failed("it could not begin, see standard error")
