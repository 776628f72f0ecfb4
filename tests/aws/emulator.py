"""The emulator of AWS: moto with some answers that it lacks. ``emulator.py ADDRESS PORT RECORD``.

All differences from AWS are here, so that no role needs a branch for tests. Files:

* RECORD gets every call, without those of the tests, as ``service:Action``, each on one line, once.
* RECORD with the suffix ``.hosts`` gets the calls of hosts instead.
* A further suffix ``.asked`` is for the resources of the calls: see tests/aws/asked.py.
* RECORD with the suffix ``.refused`` may name calls to refuse, with code and message, as JSON.

If ADDRESS is not loopback, the instances are hosts that really run: see tests/aws/living.py.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")

from moto.autoscaling.responses import AutoScalingResponse
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, BaseResponse
from moto.ec2.models.instances import Instance
from moto.ec2.models.launch_templates import LaunchTemplate
from moto.elbv2.models import FakeLoadBalancer
from moto.iam.access_control import IAMPolicyStatement, PermissionResult
from moto.s3.exceptions import S3ClientError
from moto.s3.responses import S3Response
from moto.server import main

from tests.aws import asked, living, refreshing
from tests.aws.asked import Asked
from tests.aws.loopback import CENSUS, HOSTS, balancer_address
from tests.aws.wrapping import wrap

# The attributes of a new load balancer; moto has three of them.
ATTRIBUTES = {
    "access_logs.s3.enabled": "false",
    "client_keep_alive.seconds": "3600",
    "connection_logs.s3.enabled": "false",
    "connection_logs.s3.bucket": "",
    "connection_logs.s3.prefix": "",
    "idle_timeout.timeout_seconds": "60",
    "load_balancing.cross_zone.enabled": "true",
    "routing.http2.enabled": "true",
    "routing.http.desync_mitigation_mode": "defensive",
    "routing.http.drop_invalid_header_fields.enabled": "false",
    "routing.http.preserve_host_header.enabled": "false",
    "routing.http.x_amzn_tls_version_and_cipher_suite.enabled": "false",
    "routing.http.xff_client_port.enabled": "false",
    "routing.http.xff_header_processing.mode": "append",
    "waf.fail_open.enabled": "false",
    "zonal_shift.config.enabled": "false",
}


def complete_attributes(original: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    original(self, *args, **kwargs)
    if getattr(self, "loadbalancer_type", "application") in {"application", None}:
        self.attrs.update(ATTRIBUTES)


def with_name(original: Any, self: Any, *args: Any, address: str, **kwargs: Any) -> None:
    original(self, *args, **kwargs | {"dns_name": address})


def as_if_encrypted(original: Any, self: Any, *args: Any, **kwargs: Any) -> PermissionResult:
    """Ignore a rule for unencrypted connections, which moto applies to all connections."""
    transport = self._statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")
    result = PermissionResult.NEUTRAL if transport == "false" else original(self, *args, **kwargs)
    assert isinstance(result, PermissionResult)
    return result


def without_own_tags(
    original: Any, self: Any, backend: Any, name: str, data: dict[str, Any], *rest: Any
) -> None:
    """Remove the template's own tags from its versions, where moto adds them."""
    tags = [
        each
        for each in data.get("TagSpecifications", [])
        if each["ResourceType"] != "launch-template"
    ]
    data = {key: value for key, value in data.items() if key != "TagSpecifications"}
    original(self, backend, name, data | ({"TagSpecifications": tags} if tags else {}), *rest)


def with_its_parts(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """Remove the disk and the interface of an instance that came from a template."""
    state = original(self, *args, **kwargs)
    backend = self.ec2_backend
    for store, mine in (
        (backend.volumes, lambda each: each.attachment and each.attachment.instance is self),
        (backend.enis, lambda each: each.instance is self),
    ):
        for key in [key for key, value in store.items() if mine(value)]:
            del store[key]
    return state


def disable_metrics_collection(self: Any) -> ActionResult:
    group, drop = refreshing.group_of(self), self._get_param("Metrics", [])
    group.metrics = [each for each in (group.metrics or []) if drop and each not in drop]
    return ActionResult({})


def record_calls(file: Path) -> None:
    """Record each call once; refuse the calls that the file with the suffix ``.refused`` names."""
    refusals, hosts = file.with_suffix(".refused"), file.with_suffix(".hosts")

    def refusal(
        caller: Any, service: str, action: str, of: Asked | None
    ) -> ServiceException | None:
        authorization = str(caller.headers.get("Authorization", ""))
        if f"Credential={CENSUS}/" in authorization:
            return None
        name = f"{service}:{action}"
        record = hosts if f"Credential={HOSTS}/" in authorization else file
        # The file, not memory, has the recorded calls: each test empties it.
        if name not in record.read_text(encoding="utf-8").split():
            with record.open("a", encoding="utf-8") as stream:
                stream.write(name + "\n")
        if of:
            asked.note(record.with_suffix(record.suffix + ".asked"), of)
        told = json.loads(refusals.read_text()) if refusals.exists() else {}
        # moto formats an exception for the service of its module.
        kind = type("Refused", (ServiceException,), {"__module__": f"moto.{service}.exceptions"})
        return kind(*told[name]) if name in told else None

    def call(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        service, action = self.service_name, self._get_action()
        refused = refusal(self, service, action, asked.of_parameters(f"{service}:{action}", self))
        return (
            self.serialized(ActionResult(refused)) if refused else original(self, *args, **kwargs)
        )

    def call_s3(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        action = self._get_action_from_method_and_request_uri(self.normalized_request)
        of = asked.of_bucket(f"s3:{action}", kwargs.get("bucket_name"), kwargs.get("key_name"))
        refused = refusal(self, "s3", action, of)
        if refused:
            raise S3ClientError(refused.code, refused.message)
        return original(self, *args, **kwargs)

    wrap(BaseResponse, "call_action", call)
    wrap(S3Response, "_authenticate_and_authorize_s3_action", call_s3)


def serve(address: str, port: str, record: str) -> None:
    """Serve AWS until the process is ended."""
    wrap(FakeLoadBalancer, "__init__", complete_attributes)
    wrap(LaunchTemplate, "__init__", without_own_tags)
    wrap(Instance, "terminate", with_its_parts)
    wrap(IAMPolicyStatement, "is_action_permitted", as_if_encrypted)
    setattr(AutoScalingResponse, disable_metrics_collection.__name__, disable_metrics_collection)
    # The address at which tests/aws/balancer.py serves clients of this emulator's load balancer.
    wrap(FakeLoadBalancer, "__init__", partial(with_name, address=balancer_address(int(port))))
    record_calls(Path(record))
    health = None if ip_address(address).is_loopback else Path(record).with_suffix(".health")
    refreshing.install(health)
    if health:
        living.install(health)
    main(["--host", address, "--port", port])


if __name__ == "__main__":
    serve(*sys.argv[1:4])
