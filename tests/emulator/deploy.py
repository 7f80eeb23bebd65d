"""Deploys the template by CloudFormation to an emulator and prints the API's base URL.

    deploy.py ENDPOINT BINARIES [Parameter=value …]
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import template
from ministack import client

BUCKET = "tidegate-code"
STACK = "tidegate"


def package(binary: Path) -> bytes:
    """The bootstrap as Lambda wants it: stripped, executable, in a zip."""
    with tempfile.NamedTemporaryFile() as stripped:
        subprocess.run(["strip", "-o", stripped.name, binary], check=True)
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bundle:
            entry = zipfile.ZipInfo("bootstrap")
            entry.external_attr = 0o100755 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            bundle.writestr(entry, Path(stripped.name).read_bytes())
        return archive.getvalue()


def deploy(
    endpoint: str, binaries: Path, parameters: dict[str, str], secrets: dict[str, str] | None = None
) -> str:
    """Deploys, waits, checks that every route is really there; returns the base URL.

    `secrets` are the platform secrets that the deployment begins with.
    """
    for name, value in (secrets or {}).items():
        client(endpoint, "secretsmanager").create_secret(Name=f"tidegate/{name}", SecretString=value)
    parameters = {**template.PARAMETERS, **parameters}
    expanded = template.expand(template.transform(parameters, BUCKET))

    s3 = client(endpoint, "s3")
    s3.create_bucket(Bucket=BUCKET)
    names = [
        template.function_binary(resource)
        for resource in template.load()["Resources"].values()
        if resource["Type"] == "AWS::Serverless::Function"
    ]
    with ThreadPoolExecutor(2) as pool:
        for name, archive in zip(names, pool.map(lambda name: package(binaries / name), names)):
            s3.put_object(Bucket=BUCKET, Key=f"{name}.zip", Body=archive)

    # CloudFormation takes 51,200 bytes with the call, and a megabyte from a bucket, as SAM sends it.
    s3.put_object(Bucket=BUCKET, Key="template.json", Body=json.dumps(expanded))
    cloudformation = client(endpoint, "cloudformation")
    declared = expanded.get("Parameters", {})
    cloudformation.create_stack(
        StackName=STACK,
        TemplateURL=f"{endpoint}/{BUCKET}/template.json",
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[
            {"ParameterKey": key, "ParameterValue": value}
            for key, value in parameters.items()
            if key in declared
        ],
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
    )

    resources = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in cloudformation.list_stack_resources(StackName=STACK)["StackResourceSummaries"]
    }
    api = resources["Api"]
    wanted = {
        resource["Properties"]["RouteKey"]
        for resource in expanded["Resources"].values()
        if resource["Type"] == "AWS::ApiGatewayV2::Route"
    }
    routes = client(endpoint, "apigatewayv2").get_routes(ApiId=api)["Items"]
    if not wanted or {route["RouteKey"] for route in routes} != wanted:
        raise RuntimeError(f"deployed routes {routes} are not {sorted(wanted)}")
    return f"{endpoint}/_aws/execute-api/{api}/$default"


def main() -> None:
    """The command line."""
    endpoint, binaries, *assignments = sys.argv[1:]
    parameters = dict(assignment.split("=", 1) for assignment in assignments)
    print(deploy(endpoint, Path(binaries), parameters))


if __name__ == "__main__":
    main()
