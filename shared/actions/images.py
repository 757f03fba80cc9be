"""Pictures of advertisements on their way to the vision step: stored before admission, gone once read.

Forgetting one is best effort: that the blob store is away never hides an answer. What is left over goes with
the sweep.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from shared.actions.sweeper import ref_of
from shared.errors import BlobUnavailable
from shared.routing import Template
from shared.state.blobs import IMAGES, BlobStore, image_key, images_of
from shared.state.lifecycle import State


class Images:
    """The images of tasks. `max_age_seconds`: older ones are surely nobody's."""

    def __init__(self, blobs: BlobStore, *, max_age_seconds: float) -> None:
        self._blobs = blobs
        self._max_age_seconds = max_age_seconds

    def keep(self, user_id: str, task_id: str, data: bytes, media_type: str) -> str:
        """Store a task's image and return its key.

        Raises:
            BlobUnavailable: it is not stored.
        """
        key = image_key(user_id, task_id)
        self._blobs.put(key, data, media_type)
        return key

    def forget(self, user_id: str, task_id: str) -> None:
        """Delete a task's image, if there is one and the store is there."""
        with contextlib.suppress(BlobUnavailable):
            self._blobs.delete_prefix(image_key(user_id, task_id))

    def forget_read(self, record: Mapping[str, Any] | None) -> None:
        """Delete the image of a task that looks at it no more: the step is done, or the task ended."""
        if record is None or json.loads(record["steps"])[0]["templateId"] != Template.JOB_VISION_SUMMARY:
            return
        if int(record["step"]) > 0 or State(record["state"]).ended:
            ref = ref_of(record)
            self.forget(ref.user_id, ref.task_id)

    def forget_all(self, user_id: str) -> int:
        """Delete all of a user's images; returns how many.

        Raises:
            BlobUnavailable: some may still be there.
        """
        return self._blobs.delete_prefix(images_of(user_id))

    def sweep(self) -> int:
        """Delete images that outlived any task; returns how many."""
        with contextlib.suppress(BlobUnavailable):
            return self._blobs.delete_older(IMAGES, self._max_age_seconds)
        return 0
