"""Claims about a store that does not keep up: buying and fetching wait for it, and go on when it does."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from seedream_assets_tests.purchase.desk import Desk, make_paid_requests

BYTES_OF_AN_IMAGE = 64 * 48 * 3


class GatedStore:
    """A store whose images wait at a gate."""

    def __init__(self, store):
        self._store = store
        self._lock = threading.Lock()
        self.gate = threading.Event()
        self.waiting = 0
        self.most_waiting = 0

    def __getattr__(self, name):
        return getattr(self._store, name)

    def create(self, key, body, **options):
        if key.startswith("images/"):
            with self._lock:
                self.waiting += 1
                self.most_waiting = max(self.most_waiting, self.waiting)
            assert self.gate.wait(30)
            with self._lock:
                self.waiting -= 1
        return self._store.create(key, body, **options)


def at_rest(desk, store):
    """What is bought, fetched and waiting at the gate, once none of it has grown for half a second."""
    seen, began = None, time.monotonic()
    since = began
    while time.monotonic() - since < 0.5:
        assert time.monotonic() - began < 30, f"it did not come to rest: {seen}"
        time.sleep(0.02)
        found = {**{name: desk.bill[name] for name in ("generations", "images_downloaded")}, "waiting": store.waiting}
        if found != seen or not store.waiting:
            seen, since = found, time.monotonic()
    return seen


def test_a_store_that_hangs_stops_buying_and_fetching_until_it_takes_images_again(start_desk):
    desk = start_desk()
    store = GatedStore(desk.store)
    desk = Desk(store=store, emulator=desk.emulator)
    requests = make_paid_requests(60, count=2)
    engine = {"slots": 2, "queue_ahead": 1, "image_bytes_in_memory": 5 * BYTES_OF_AN_IMAGE}
    with ThreadPoolExecutor(1) as threads:
        run = threads.submit(desk.run, requests, engine=engine)
        # Three slots at Leonardo, and as many requests that are stored meanwhile; of their images, five fit into memory.
        assert at_rest(desk, store) == {"generations": 6, "images_downloaded": 5, "waiting": 5}
        store.gate.set()
        assert run.result(60).requests == {"completed": 60}
    assert store.most_waiting == 5
    assert desk.judge(requests).is_clean
