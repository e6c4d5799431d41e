"""The content store: values by the hash of their bytes, in Redis and, above a size, in a folder that fsspec opens."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Final

import redis

from codeexec_magic.errors import BadValue, ValueLost, ValueStoreFull
from codeexec_magic.quantities import size_text
from codeexec_magic.store.connection import broker_errors, connect
from codeexec_magic.store.jobs import JobStore
from codeexec_magic.store.keys import VALUE, VALUE_UPLOAD
from codeexec_magic.store.scripts import ms
from codeexec_magic.values.artifacts import Artifacts
from codeexec_magic.values.codec.container import Buffer, Packed
from codeexec_magic.values.ref import ValueRef

#: bytes that travel at a time
CHUNK: Final = 4 << 20


class ValueStore:
    """Puts values into the store and gets them out.

    Args:
        jobs: the job store, whose server, namespace and settings are used.
    """

    def __init__(self, jobs: JobStore) -> None:
        self._jobs, self.settings = jobs, jobs.settings
        self._redis: redis.Redis = connect(jobs.url, binary=True)
        self._artifacts = Artifacts(self.settings.artifacts, self.settings.namespace)
        self._missing: set[str] = set()  # files without a record, as the last sweep saw them

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    @property
    def ttl_s(self) -> float:
        """How long a value is kept after its last use (seconds): as long as whatever may name it."""
        return max(self.settings.result_ttl_s, self.settings.cache_ttl_s)

    def put(self, packed: Packed, name: str) -> ValueRef:
        """Store a value, unless it is there.

        Args:
            packed: the value.
            name: of the variable, for errors.

        Raises:
            BadValue: it is larger than a value may be.
            ValueStoreFull: there is no room.
            ClusterError: the server cannot be reached, or its memory is full.
        """
        self.check_size(packed.size, name)
        ref = ValueRef(packed.digest(), packed.size, packed.kind, packed.type, packed.preview, packed.python)
        if self._room(ref.hash, ref.size, name):
            upload = Upload(self, ref.size)
            try:
                for chunk in packed.chunks():
                    upload.write(chunk)
                upload.commit()
            except BaseException:
                upload.abort()
                raise
        return ref

    def check_size(self, size: int, name: str) -> None:
        """Refuse a value that is too large.

        Raises:
            BadValue: it is.
        """
        if size > self.settings.max_value_mb << 20:
            raise BadValue(
                f"{name} is {size_text(size)}, the limit is {self.settings.max_value_mb} MB (CODEEXEC_MAX_VALUE_MB)"
            )

    def _room(self, digest: str, size: int, name: str) -> bool:
        """Whether the value has to be uploaded; it is there already otherwise.

        Raises:
            ValueStoreFull: there is no room.
        """
        cap = self.settings.values_mb << 20
        answer = self._jobs.call("value_room", digest, size, ms(self.ttl_s), cap)
        if answer[0] == "full":
            raise ValueStoreFull(
                f"no room for {name} ({size_text(size)}): {size_text(int(answer[1]))} of {self.settings.values_mb} MB "
                "are in use; values go by themselves when their jobs expire, or raise CODEEXEC_VALUES_MB"
            )
        return bool(answer[0] == "room")

    def upload(self, size: int, name: str) -> Upload:
        """Begin to store bytes whose hash is not known yet.

        Args:
            size: bytes that will come.
            name: of the variable, for errors.

        Raises:
            BadValue: too large.
            ValueStoreFull: there is no room.
        """
        self.check_size(size, name)
        self._room("0" * 64, size, name)
        return Upload(self, size)

    def touch(self, refs: Iterable[ValueRef]) -> list[ValueRef]:
        """Keep values for their full time again; those that are gone."""
        stored = {ref.hash: ref for ref in refs if ref.stored}
        if not stored:
            return []
        return [stored[digest] for digest in self._jobs.call("value_touch", ms(self.ttl_s), *stored)]

    def chunks(self, ref: ValueRef) -> Iterator[bytes]:
        """The bytes of a value, checked against its hash at the end.

        Raises:
            ValueLost: they are not there any more, or not what the hash says.
            ClusterError: the server cannot be reached.
        """
        digest, count = hashlib.sha256(), 0
        for chunk in [ref.bytes()] if not ref.stored else self._stored_chunks(ref):
            count += len(chunk)
            if count > ref.size:
                break
            digest.update(chunk)
            yield chunk
        if count != ref.size or digest.hexdigest() != ref.hash:
            raise ValueLost(f"a value of type {ref.type} was changed or cut in the store: run its cell again")

    def _stored_chunks(self, ref: ValueRef) -> Iterator[bytes]:
        key = self._jobs.key(VALUE, ref.hash)
        with broker_errors(self._jobs.url):
            place = self._redis.hget(key, "place")
            if place is None and not self._redis.exists(key):
                raise ValueLost(
                    f"a value of type {ref.type} ({size_text(ref.size)}) is not in the store any more: it is kept for "
                    f"{self.ttl_s / 60:.0f} min after its last use; run its cell again"
                )
        if place is not None:
            yield from self._artifacts.read(ref.hash, CHUNK)
            return
        for number in range(-(-ref.size // CHUNK)):
            with broker_errors(self._jobs.url):
                chunk: Any = self._redis.hget(key, str(number))
            if chunk is None:
                return
            yield chunk

    def load(self, ref: ValueRef) -> bytearray:
        """All bytes of a value, in memory that may be written to.

        Raises:
            ValueLost: they are not there any more, or not what the hash says.
            BadValue: larger than a value may be.
            ClusterError: the server cannot be reached.
        """
        self.check_size(ref.size, ref.type or "the value")
        data, at = bytearray(ref.size), 0
        view = memoryview(data)
        for chunk in self.chunks(ref):
            view[at : at + len(chunk)] = chunk
            at += len(chunk)
        return data

    def sweep(self) -> int:
        """Remove the files of expired values; how many. A file goes when two sweeps found no record of it."""
        if not self._artifacts.configured:
            return 0
        missing = set()
        for digest in self._artifacts.digests():
            with broker_errors(self._jobs.url):
                if not self._redis.exists(self._jobs.key(VALUE, digest)):
                    missing.add(digest)  # or its record is about to be written
        removed = sum(self._artifacts.remove(digest) for digest in missing & self._missing)
        self._missing = missing
        return removed


class Upload:
    """Bytes on their way into the store, a chunk at a time; made by the store."""

    def __init__(self, store: ValueStore, size: int) -> None:
        self._store, self._size = store, size
        self._id = uuid.uuid4().hex
        self._key = store._jobs.key(VALUE_UPLOAD, self._id)
        self._digest, self._count, self._number = hashlib.sha256(), 0, 0
        self._pending = bytearray()
        large = size > store.settings.redis_value_mb << 20 and store._artifacts.configured
        self._file = store._artifacts.create(self._id) if large else None

    def write(self, data: Buffer) -> None:
        """Add bytes.

        Raises:
            BadValue: more than were announced.
            ClusterError: the server cannot be reached, or its memory is full.
        """
        view = memoryview(data).cast("B") if len(data) else memoryview(b"")
        self._count += view.nbytes
        if self._count > self._size:
            raise BadValue("more bytes than were announced")
        self._digest.update(view)
        if self._file is not None:
            self._file.write(view)
            return
        while view.nbytes:
            room = CHUNK - len(self._pending)
            if not self._pending and view.nbytes >= CHUNK:
                self._send(view[:CHUNK])  # straight from the value's own memory
            else:
                self._pending += view[:room]
                if len(self._pending) == CHUNK:
                    self._flush()
            view = view[room:]

    def _flush(self) -> None:
        if self._pending:
            self._send(memoryview(self._pending))
            self._pending = bytearray()

    def _send(self, chunk: memoryview) -> None:
        with broker_errors(self._store._jobs.url):
            pipe = self._store._redis.pipeline(transaction=False)
            pipe.hset(self._key, str(self._number), chunk)
            pipe.pexpire(self._key, ms(VALUE_UPLOAD.expiry_s))
            pipe.execute()
        self._number += 1

    def commit(self) -> str:
        """All bytes are written: give the value its name, the hash; returns it.

        Raises:
            BadValue: fewer bytes than were announced.
            ClusterError: the server cannot be reached, or its memory is full.
        """
        if self._count != self._size:
            raise BadValue("fewer bytes than were announced")
        digest, place = self._digest.hexdigest(), ""
        if self._file is not None:
            self._file.close()
            place = self._store._artifacts.rename(self._id, digest)
            self._file = None
        else:
            self._flush()
        store = self._store
        answer = store._jobs.call("value_commit", self._id, digest, self._size, ms(store.ttl_s), place)
        if answer == "lost":
            raise ValueLost("the upload of a value took too long: send it again")
        return digest

    def abort(self) -> None:
        """Throw away what was written."""
        try:
            if self._file is not None:
                self._file.close()
                self._store._artifacts.remove(self._id)
            else:
                self._store._redis.delete(self._key)
        except Exception:
            return  # it expires by itself; the error that brought us here is the one to tell
