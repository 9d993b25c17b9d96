"""A relay between workers and a master that loses messages, and sends some twice: what a bad network would do."""

from __future__ import annotations

import random
import threading

import zmq

from harness.load.frames import unpack


class LossyRelay:
    """Listens at `port` of 127.0.0.1 and passes on to `master`; of each direction `lose` and `repeat` are shares.
    never: a kind of message that it always loses."""

    def __init__(self, master: str, seed: int, lose: float, repeat: float, never: str = "") -> None:
        self._master, self._drawn, self._never = master, random.Random(seed), never
        self._lose, self._repeat = lose, repeat
        self._context = zmq.Context()
        self._front = self._context.socket(zmq.ROUTER)
        self.port = self._front.bind_to_random_port("tcp://127.0.0.1")
        self._backs: dict[bytes, zmq.Socket[bytes]] = {}
        self._over = threading.Event()
        self.lost = self.repeated = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            if self._front.poll(5):
                identity, frame = self._front.recv_multipart()
                if identity not in self._backs:
                    back: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
                    back.setsockopt(zmq.IDENTITY, identity)
                    back.connect(self._master)
                    self._backs[identity] = back
                for _ in range(self._times(frame)):
                    self._backs[identity].send(frame)
            for identity, back in self._backs.items():
                while back.poll(0):
                    frame = back.recv()
                    for _ in range(self._times(frame)):
                        self._front.send_multipart([identity, frame])
        for back in self._backs.values():
            back.close(linger=0)
        self._front.close(linger=0)

    def _times(self, frame: bytes) -> int:
        drawn = self._drawn.random()
        message = unpack(frame)
        if drawn < self._lose or (message is not None and message.type == self._never):
            self.lost += 1
            return 0
        if drawn < self._lose + self._repeat:
            self.repeated += 1
            return 2
        return 1

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._context.term()
