"""A real QEMU whose VNC screen shows one colour; each key changes it to the colour of its number and is written to a
file. The machine is a boot sector of our own: nothing is downloaded."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("qemu-system-x86_64")
GREEN = (0, 168, 0)  # colour 2 of the VGA's palette
BOOT = bytes.fromhex(
    "fc"  # cld
    "b81300cd10"  # ax = 13h, int 10h: 320 x 200 in 256 colours
    "b302"  # bl = 2
    "b800a08ec0"  # paint: es = a000h
    "31ff"  # di = 0
    "88d8"  # al = bl
    "b900fa"  # cx = 64000
    "f3aa"  # rep stosb
    "31c0cd16"  # ah = 0, int 16h: wait for a key
    "e6e9"  # write its letter to the debug port
    "88c3"  # bl = al
    "ebea"  # to paint
)


class Qemu:
    def __init__(self, folder: Path) -> None:
        self.folder, self.vnc, self.typed = folder, str(folder / "vnc.sock"), folder / "typed"
        self._qmp = folder / "qmp.sock"

    def __enter__(self) -> Qemu:
        assert PROGRAM
        self.folder.mkdir(parents=True, exist_ok=True)
        image = self.folder / "boot.img"
        image.write_bytes((BOOT.ljust(510, b"\0") + b"\x55\xaa").ljust(1474560, b"\0"))
        self.process = subprocess.Popen(
            [
                PROGRAM,
                "-machine",
                "pc,accel=tcg",
                "-m",
                "32",
                "-nodefaults",
                "-display",
                "none",
                "-vga",
                "std",
                "-vnc",
                f"unix:{self.vnc},password=on",
                "-drive",
                f"file={image},format=raw,if=floppy,snapshot=on",
                "-boot",
                "a",
                "-debugcon",
                f"file:{self.typed}",
                "-qmp",
                f"unix:{self._qmp},server=on,wait=off",
                "-name",
                "guest",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        pause = threading.Event()
        for _ in range(200):
            if Path(self.vnc).exists() and self._qmp.exists():
                return self
            if self.process.poll() is not None:
                break
            pause.wait(0.05)
        text = (
            self.process.stderr.read().decode()
            if self.process.poll() is not None and self.process.stderr
            else "no socket"
        )
        self.__exit__()
        raise RuntimeError(f"QEMU did not start: {text}")

    def __exit__(self, *args: Any) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()

    def set_password(self, password: str) -> None:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self._qmp))
            lines = s.makefile("rwb")
            lines.readline()
            for command in (
                {"execute": "qmp_capabilities"},
                {"execute": "set_password", "arguments": {"protocol": "vnc", "password": password}},
            ):
                lines.write(json.dumps(command).encode() + b"\n")
                lines.flush()
                answer = json.loads(lines.readline())
                assert "return" in answer, answer
            lines.close()
