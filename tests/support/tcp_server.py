"""A server on 127.0.0.1, one thread per connection, that ends within a second whatever its clients do."""

import contextlib
import socket
import threading
import time
from types import TracebackType

from tests.support.http_wire import BadHttpError, Connection

_STOP_LIMIT_S = 0.8


class TcpServer:
    """Subclasses write `serve`. Use it as a context manager, or `start()` and `stop()`.

    Everything in `serve` that waits must wait on `self.closing` or on a socket from `self.track`.
    """

    def __init__(self) -> None:
        self.port = 0
        self.connection_count = 0  # since it was made
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._sockets: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()

    def serve(self, client: Connection) -> None:
        """Speak with one client until it is done; errors of sockets and of the protocol may pass."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "TcpServer":
        """Listen; again on the same port after `stop` or `kill`."""
        self.closing.clear()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(256)
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._run(self._accept, listener)
        return self

    def stop(self) -> None:
        """End the listener, every connection and every thread."""
        self.closing.set()
        self.kill()
        end = time.monotonic() + _STOP_LIMIT_S
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))

    def kill(self) -> None:
        """End like a process that dies: the port refuses, open connections close. `revive` undoes it."""
        with self._lock:
            listener, self._listener = self._listener, None
            sockets = [*self._sockets, listener] if listener else list(self._sockets)
            for sock in sockets:
                # Only shut down: its thread wakes and closes it. Closed from here, its number could
                # already belong to another file when the thread uses it once more.
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        while listener and listener.fileno() >= 0 and not self._accepting_is_over():
            time.sleep(0.001)

    def revive(self) -> None:
        """Listen again, on the same port."""
        if self._listener is None:
            self.start()

    def track(self, sock: socket.socket) -> socket.socket:
        """Have this socket ended by `kill` and `stop` too."""
        with self._lock:
            self._sockets.add(sock)
        return sock

    def untrack(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(sock)
        sock.close()

    def __enter__(self):
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _accepting_is_over(self) -> bool:
        with self._lock:
            return not any(thread.name == "accept" for thread in self._threads)

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with self._lock:
                    alive = listener is self._listener
                    if alive:
                        self.connection_count += 1
                        self._sockets.add(sock)
                if not alive:
                    sock.close()
                    return
                self._run(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError, BadHttpError):
                self.serve(Connection(sock))
        finally:
            self.untrack(sock)

    def _run(self, work, sock: socket.socket) -> None:
        def run() -> None:
            try:
                work(sock)
            finally:
                with self._lock:
                    self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, daemon=True, name="accept" if work == self._accept else "serve")
        with self._lock:
            self._threads.add(thread)
        thread.start()
