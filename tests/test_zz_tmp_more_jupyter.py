from __future__ import annotations
import json, os, signal, socket, subprocess, sys, threading, time
from pathlib import Path
import pytest
from tests.test_auto_stop_jupyter import *  # noqa
from tests.test_auto_stop_jupyter import server, instance
from tests.jupyter_servers import wait_for, WebSocket
pytestmark = pytest.mark.notebook

@pytest.mark.parametrize("code", ["input('name? ')", "breakpoint()"])
def test_x_asks(server, instance, code):
    kernel = server.start_kernel()
    with server.open_kernel(kernel) as c:
        # allow_stdin
        import inspect
        c.execute(code)
        time.sleep(3)
    print(server.request("GET", f"kernels/{kernel}"))
    for _ in range(25): instance.look()
    print(code, [h["state"] for h in instance.history][-3:], instance.history[-1]["why"])

def test_x_killed(server, instance):
    kernel = idle_kernel(server)
    instance.look()
    pid = subprocess.run(["pgrep","-f",f"ipykernel_launcher.*{kernel}"],capture_output=True,text=True).stdout.split()
    print(pid)
    os.kill(int(pid[0]), signal.SIGKILL)
    for _ in range(6):
        time.sleep(1)
        print(server.request("GET", f"kernels/{kernel}")["execution_state"], instance.look()["why"])
    print(instance.minutes_until_stop(30))

def test_x_thread_waits(server, instance):
    kernel = server.start_kernel()
    server.run(kernel, "import threading,time\ndef f():\n  while True:\n    time.sleep(.2); print('x', flush=True)\nthreading.Thread(target=f,daemon=True).start()")
    for _ in range(5):
        time.sleep(1)
        print(instance.look())
    
def test_x_popen(server, instance):
    kernel = server.start_kernel()
    server.run(kernel, "import subprocess,sys\np=subprocess.Popen([sys.executable,'-c','while True: pass'])")
    instance.settings.update(idle_minutes=1 / 60, warn_minutes=0)
    print(instance.seconds_until_stop(4), instance.history[-1]["why"])

def test_x_bang(server, instance):
    kernel = server.start_kernel()
    server.run(kernel, "!sleep 1000 &")
    server.run(kernel, "get_ipython().system_raw('sleep 1001 &')")
    instance.look(); print(instance.look())
    print(instance.minutes_until_stop(30), instance.history[-2])

def test_x_browser_download(server, instance, tmp_path_factory):
    root = tmp_path_factory.getbasetemp()
    (root / "big.bin").write_bytes(os.urandom(1 << 20) * 200)
    instance.settings.update(idle_minutes=1 / 60, warn_minutes=0, cpu_percent=1000)
    s = socket.create_connection(("127.0.0.1", server.info["port"]))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    s.sendall(f"GET {server.info['base_url']}files/big.bin?token={server.info['token']} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    stop = threading.Event()
    got = [0]
    def drain():
        while not stop.wait(0.05):
            d = s.recv(50000)
            if not d: return
            got[0] += len(d)
    t = threading.Thread(target=drain, daemon=True); t.start()
    print("sec", instance.seconds_until_stop(6), instance.history[-1], got)
    stop.set(); s.close()
    (root / "big.bin").unlink()

def test_x_top(server, instance):
    t = server.open_terminal()
    server.type(t, "top -d 1 | cat")
    for _ in range(3): time.sleep(1); print(instance.look())

def test_x_vscode(server, instance, tmp_path):
    import pty
    rc = tmp_path / "rc.sh"; rc.write_text("echo hi\n")
    person, terminal = pty.openpty()
    shell = subprocess.Popen(["bash", "--init-file", str(rc)], stdin=terminal, stdout=terminal, stderr=terminal,
        env={**os.environ, MARK: instance.mark}, preexec_fn=lambda: os.login_tty(terminal))
    instance.children.append(shell); os.close(terminal)
    time.sleep(1)
    print(instance.minutes_until_stop(30), instance.history[-2])
    os.close(person)
