"""``/segment``, ``/ground`` and ``/change``: GeoTIFFs in, GeoJSON out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from anyio.to_thread import run_sync
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from rsmoe.cli.terminal import printable
from rsmoe.data.boxes import CONVENTIONS, convention
from rsmoe.errors import UserError
from rsmoe.evaluation.reply import Reply
from rsmoe.evaluation.reply_files import box_features, mask_features
from rsmoe.evaluation.request import Request as Asked
from rsmoe.generation.decoding import Decoding
from rsmoe.web.chat import Extra
from rsmoe.web.layers import change_features, changes, collection, rsmoe_field
from rsmoe.web.problem import Problem
from rsmoe.web.service import MIXTURE, Service


class UploadedRasters:
    """Forms with files, answered with a feature collection whose member ``rsmoe`` holds the words and the router.

    Args:
        service: who answers.
    """

    def __init__(self, *, service: Service) -> None:
        self.service = service

    async def segment(self, request: Request) -> Response:
        """The field ``image``, and in ``instruction`` what to find -> the mask; no features without a mask.

        Raises:
            Problem: see `Service`; a field that is missing.
        """
        return await self._answer(request, ("image",), self._segmented, tile=-1, words=True)

    async def ground(self, request: Request) -> Response:
        """The field ``image``, and in ``instruction`` what to find -> its boxes; no features without a box.

        ``boxes`` says how the model writes them, where its training data did not.

        Raises:
            Problem: see `Service`; a field that is missing, or no convention of boxes that is known.
        """
        return await self._answer(request, ("image",), self._grounded, tile=-1, words=True, boxes=True)

    async def change(self, request: Request) -> Response:
        """The fields ``before`` and ``after`` -> what has changed, tile by tile at full size.

        Raises:
            Problem: see `Service`; a field that is missing, or a model without a map of changes.
        """
        if "change" not in self.service.model.run.model.maps:
            raise Problem(400, "this model has no map of changes: serve one that was trained with maps=[change]")
        return await self._answer(request, ("before", "after"), self._changed, tile=None, words=False)

    async def _answer(
        self, request: Request, fields: tuple[str, ...], described: Callable[[Reply], dict[str, Any]],
        *, tile: int | None, words: bool, boxes: bool = False,
    ) -> Response:  # fmt: skip
        service, settings = self.service, self.service.settings
        contents: list[bytes] = []
        async with request.form(max_files=len(fields), max_fields=4, max_part_size=16_384) as form:
            for name in fields:
                file = form.get(name)
                if not isinstance(file, UploadFile):
                    raise Problem(400, f"no file {name!r}: send a form, curl -F {name}=@picture.tif", param=name)
                contents.append(await file.read())
            said = {name: value.strip() for name, value in form.items() if isinstance(value, str)}
        instruction = said.get("instruction") or None
        if words and instruction is None:
            raise Problem(400, "no instruction: say what to find, curl -F instruction='the ships'", param="instruction")
        asked = Asked(
            id="request", pictures=(), instruction=instruction, expert=service.expert(said.get("model") or MIXTURE),
            decoding=Decoding(max_new=settings.max_new),
        )  # fmt: skip
        written = self._convention(said.get("boxes")) if boxes else None
        with service.uploads() as uploads:
            job = await service.open(uploads, contents, asked, beams=settings.beams, tile=tile, boxes=written)
            found = await run_sync(described, await service.reply(job))
        return Response(json.dumps(found, ensure_ascii=False), media_type="application/geo+json")

    def _convention(self, given: str | None) -> str:
        """How the model writes boxes."""
        known = given or self.service.model.run.box_convention
        if known is None:
            raise Problem(
                400, "the training data of this model does not say how it writes boxes: send boxes=minigpt, or "
                f"another of {', '.join(CONVENTIONS)}", param="boxes",
            )  # fmt: skip
        try:
            return convention(known).name
        except UserError as error:
            raise Problem(400, str(error), param="boxes") from error

    def _segmented(self, reply: Reply) -> dict[str, Any]:
        found = collection(mask_features(reply), reply.shown.georeference)
        return found | {"rsmoe": self._summary(reply)}

    def _grounded(self, reply: Reply) -> dict[str, Any]:
        found = collection(box_features(reply), reply.dates.georeference)
        return found | {"rsmoe": self._summary(reply)}

    def _changed(self, reply: Reply) -> dict[str, Any]:
        assert reply.change is not None
        found = collection(change_features(reply, self.service.model.run.change_classes), reply.dates.georeference)
        return found | {"rsmoe": self._summary(reply) | changes(reply.change.kinds, reply.dates.valid)}

    def _summary(self, reply: Reply) -> dict[str, Any]:
        plain = replace(reply, mask=None, change_map=None, land_cover=None)
        said = rsmoe_field(self.service.model, plain, wanted=Extra(), notes=())
        return {"answer": printable(reply.text)} | {key: value for key, value in said.items() if key != "layers"}
