"""A bare caller of the emulator for these tests: raw HTTP, no parsing, so that nothing is taken for granted."""

from __future__ import annotations

import json
from typing import Any

import httpx

from seedream_assets.emulator.account import Account
from seedream_assets.emulator.server import RunningEmulator

PROMPT = "Studio photo of a blue ceramic mug on pale stone, soft window light"


class FakeClock:
    """A clock that moves only when it is moved."""

    def __init__(self, now: float = 1_795_338_843.512) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def make_body(prompt: str = PROMPT, *, model: str = "seedream-4.0", **parameters: Any) -> dict[str, Any]:
    size = {"width": 64, "height": 48}
    return {"model": model, "public": False, "parameters": {"prompt": prompt, **size, **parameters}}


class Caller:
    """One emulator and a connection to it."""

    def __init__(self, emulator: RunningEmulator, clock: FakeClock) -> None:
        self.emulator = emulator
        self.account: Account = emulator.account
        self.clock = clock
        # Reading the certificate store costs more than all the requests of a test, and loopback has no certificates.
        key = {"Authorization": f"Bearer {emulator.key}"}
        self.http = httpx.Client(base_url=emulator.base_url, headers=key, timeout=10.0, verify=False, trust_env=False)
        self.bare = httpx.Client(base_url=emulator.base_url, timeout=10.0, verify=False, trust_env=False)

    def close(self) -> None:
        self.http.close()
        self.bare.close()

    def create(self, prompt: str = PROMPT, **parameters: Any) -> httpx.Response:
        return self.http.post("/v2/generations", json=make_body(prompt, **parameters))

    def create_id(self, prompt: str = PROMPT, **parameters: Any) -> str:
        return str(self.create(prompt, **parameters).json()["generate"]["generationId"])

    def poll(self, generation_id: str) -> httpx.Response:
        return self.http.get(f"/v1/generations/{generation_id}")

    def generation(self, generation_id: str) -> dict[str, Any]:
        return dict(self.poll(generation_id).json()["generations_by_pk"])

    def image_urls(self, generation_id: str) -> list[str]:
        return [image["url"] for image in self.generation(generation_id)["generated_images"]]

    def history(self, **query: int) -> list[dict[str, Any]]:
        answer = self.http.get(f"/v1/generations/user/{self.account.settings.user_id}", params=query)
        return list(answer.json()["generations"])

    def upload_form(self, extension: str = "jpg") -> dict[str, Any]:
        return dict(self.http.post("/v1/init-image", json={"extension": extension}).json()["uploadInitImage"])

    def upload(self, form: dict[str, Any], content: bytes, **headers: str) -> httpx.Response:
        file = {"file": ("reference.jpg", content, "image/jpeg")}
        return self.bare.post(form["url"], data=json.loads(form["fields"]), files=file, headers=headers)

    def bill(self) -> dict[str, Any]:
        return self.account.bill()
