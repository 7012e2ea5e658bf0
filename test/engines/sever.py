"""Cuts TCP connections of another process, as a network that fails cuts them: sever.py PID PORT

Shuts down every connection from PID to PORT, again and again, until standard input ends; then prints how many it cut.
Needs Linux 5.6 (pidfd_getfd) and the right to trace PID.
"""
import ctypes
import os
import select
import socket
import sys

PIDFD_OPEN, PIDFD_GETFD = 434, 438
LOOK_EVERY_S = 0.02

libc = ctypes.CDLL(None, use_errno=True)


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def connections(pid, port):
    """Descriptors of pid that are established connections to port."""
    inodes = set()
    with open(f"/proc/{pid}/net/tcp") as table:
        for row in list(table)[1:]:
            fields = row.split()
            if int(fields[2].split(":")[1], 16) == port and fields[3] == "01":
                inodes.add(fields[9])
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue
        if target.startswith("socket:[") and target[8:-1] in inodes:
            yield int(name)


def main():
    pid, port = int(sys.argv[1]), int(sys.argv[2])
    handle = checked(libc.syscall(PIDFD_OPEN, pid, 0))
    cuts = 0
    while True:
        for descriptor in connections(pid, port):
            with socket.socket(fileno=checked(libc.syscall(PIDFD_GETFD, handle, descriptor, 0))) as copy:
                copy.shutdown(socket.SHUT_RDWR)
            cuts += 1
        ended, _, _ = select.select([sys.stdin], [], [], LOOK_EVERY_S)
        if ended:
            break
    print(cuts)


main()
