"""The part of the configuration that is about the audit trail."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from broker.settings.alerts import Alerts
from broker.settings.problems import Problem
from broker.settings.sections import Rate, Section
from broker.settings.streams import AuditStream
from broker.settings.values import ConfigPath, Duration, HttpsUrl, within


class ObjectStore(Section):
    """A bucket of an S3-compatible object store, made with object lock."""

    bucket: str = Field(min_length=3, max_length=63, description="Its name.")
    prefix: str = Field(
        "checkpoints/", max_length=256, description="What the names of the objects begin with."
    )
    endpoint_url: HttpsUrl | None = Field(
        None, description="Where it is, unless at AWS: https, or http on loopback."
    )
    region: str | None = Field(None, description="Its region; absent: as the environment says.")
    retain: Annotated[Duration, within(timedelta(days=1), timedelta(days=36500))] = Field(
        timedelta(days=400),
        description="How long nobody, its owner included, can delete an object.",
    )


class Witness(Section):
    """A C2SP witness, which signs that it has seen one history and no other."""

    url: HttpsUrl = Field(description="Its submission prefix: https, or http on loopback.")
    vkey: str = Field(
        min_length=8, max_length=4096, description="Its verifier key: `name+hash+base64`."
    )


class Checkpoints(Section):
    """How the trail is sealed, and where the signed heads of it go."""

    key_file: ConfigPath | None = Field(
        None,
        description="File with what signs checkpoints, 32 random bytes in base64;"
        " made beside an embedded database, required with any other.",
    )
    every: Annotated[Duration, within(timedelta(milliseconds=100), timedelta(minutes=1))] = Field(
        timedelta(seconds=10), description="How long a row waits at most for its checkpoint."
    )
    file: ConfigPath | None = Field(
        None,
        description="File that each checkpoint is appended to, best on another machine's disk.",
    )
    s3: ObjectStore | None = Field(None, description="Object store that each checkpoint goes to.")
    witnesses: tuple[Witness, ...] = Field(
        (), max_length=8, description="Witnesses that are asked to sign checkpoints."
    )


class Audit(Section):
    """The audit trail."""

    deadline: Annotated[Duration, within(timedelta(milliseconds=100), timedelta(seconds=10))] = (
        Field(
            timedelta(seconds=1),
            description="How long a token waits for its audit row before it becomes a 503.",
        )
    )
    unauthenticated_refusals: Rate = Field(
        Rate(count=20, per=timedelta(minutes=1)),
        description="Refusals before authentication that get a row of their own, from one address;"
        " ten times as many from all. The others are counted in one row.",
    )
    key_file: ConfigPath | None = Field(
        None,
        description="File with the key for what identifies persons, 32 bytes in base64;"
        " made beside an embedded database, required with any other.",
    )
    checkpoints: Checkpoints = Field(
        Checkpoints(), description="How the trail is sealed, and where the signed heads of it go."
    )
    alerts: Alerts = Field(Alerts(), description="What is looked for in the trail as it grows.")
    streams: tuple[AuditStream, ...] = Field(
        (), max_length=8, description="Receivers that the trail is brought to as it grows."
    )

    def problems(self) -> Iterator[Problem]:
        """Yield which streams have a name that another one has: they would share one place."""
        names = Counter(stream.name for stream in self.streams)
        for index, stream in enumerate(self.streams):
            if names[stream.name] > 1:
                yield Problem(("streams", index, "name"), "write another name for each stream")
