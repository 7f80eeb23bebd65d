"""The template as CloudFormation sees it, and as an emulator can deploy it.

The emulator's CloudFormation ignores the OpenAPI `Body` that SAM makes of an HttpApi: the stack
completes and every path answers 404. `expand` writes the same routes as resources of their own,
and fails on anything of the document it does not know, so that nothing is lost silently.
"""

from __future__ import annotations

import copy
import platform
from pathlib import Path
from typing import Any

from boto3.session import Session
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"
REGION = "us-east-1"

#: The parameters that have no default, and the architecture of this machine.
PARAMETERS = {
    "Architecture": "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64",
    "OidcIssuer": "https://issuer.tidegate.localhost",
    "OidcJwksUrl": "http://127.0.0.1:9/_dev/jwks.json",
    "OidcAudiences": "tidegate-local",
}


class NotExpanded(Exception):
    """The OpenAPI document says something that `expand` would lose."""


def load() -> dict[str, Any]:
    """The SAM template as written."""
    return yaml_parse(TEMPLATE.read_text())


def function_binary(function: dict[str, Any]) -> str:
    """The binary that a function of the template is built from."""
    return function["Metadata"]["BuildProperties"]["Binary"]


def transform(parameters: dict[str, str], bucket: str = "bucket") -> dict[str, Any]:
    """What CloudFormation's SAM macro makes of the template; code is `s3://bucket/binary.zip`."""
    template = load()
    template["Globals"]["Function"].pop("CodeUri", None)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = f"s3://{bucket}/{function_binary(resource)}.zip"
    translator = Translator({}, Parser(), boto_session=Session(region_name=REGION))
    return translator.translate(sam_template=template, parameter_values={**PARAMETERS, **parameters})


def expand(template: dict[str, Any]) -> dict[str, Any]:
    """Replaces each API's OpenAPI body by route, integration and authorizer resources.

    Leaves out alarms over several metrics, which the emulator refuses: nothing depends on them; and
    the conditions of key policies, as the emulator tells them of no encryption context. Who may send
    messages may send ten at once: AWS has one action for both, the emulator two.
    """
    template = copy.deepcopy(template)
    resources = template["Resources"]
    for role in (r for r in resources.values() if r["Type"] == "AWS::IAM::Role"):
        for policy in role["Properties"].get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                actions = statement["Action"]
                statement["Action"] = [f"{a}*" if a == "sqs:SendMessage" else a for a in actions]
    for name in [n for n, r in resources.items() if r["Type"] == "AWS::CloudWatch::Alarm"]:
        if "Metrics" in resources[name]["Properties"]:
            del resources[name]
    for resource in resources.values():
        if resource["Type"] == "AWS::KMS::Key":
            for statement in resource["Properties"]["KeyPolicy"]["Statement"]:
                if statement["Sid"] == "UseInContext":
                    del statement["Condition"]
    for name in [n for n, r in resources.items() if r["Type"] == "AWS::ApiGatewayV2::Api"]:
        api = resources[name]["Properties"]
        if "Body" in api:
            resources.update(_expand_api(name, api))
    return template


def _expand_api(name: str, api: dict[str, Any]) -> dict[str, Any]:
    body = api.pop("Body")
    unknown(api, {"FailOnWarnings"})
    _only(body, "openapi", "info", "paths", "tags", "components", "x-amazon-apigateway-cors")
    _only(body.get("components", {}), "securitySchemes")
    api["Name"] = body["info"]["title"]
    api["ProtocolType"] = "HTTP"
    api["Tags"] = {tag["name"]: tag["x-amazon-apigateway-tag-value"] for tag in body.get("tags", [])}
    if "x-amazon-apigateway-cors" in body:
        # CloudFormation would spell `AllowOrigins`; the emulator reads `allowOrigins` here too.
        api["CorsConfiguration"] = body["x-amazon-apigateway-cors"]

    added: dict[str, Any] = {}
    authorizers = body.get("components", {}).get("securitySchemes", {})
    for scheme, definition in authorizers.items():
        added[f"{name}{scheme}"] = _authorizer(name, scheme, definition)
    for path, methods in body["paths"].items():
        for method, operation in methods.items():
            route = f"{name}Route{len(added)}"
            added[f"{route}Integration"] = _integration(name, operation)
            added[route] = _route(name, route, f"{method.upper()} {path}", operation, set(authorizers))
    return added


def _authorizer(api: str, scheme: str, definition: dict[str, Any]) -> dict[str, Any]:
    _only(definition, "type", "name", "in", "x-amazon-apigateway-authorizer")
    source = dict(definition["x-amazon-apigateway-authorizer"])
    if source.pop("type") != "request":
        raise NotExpanded(f"authorizer {scheme} is not a Lambda authorizer")
    properties = {
        "ApiId": {"Ref": api},
        "Name": scheme,
        "AuthorizerType": "REQUEST",
        "AuthorizerUri": source.pop("authorizerUri"),
        "AuthorizerResultTtlInSeconds": source.pop("authorizerResultTtlInSeconds"),
        "IdentitySource": source.pop("identitySource"),
        "AuthorizerPayloadFormatVersion": source.pop("authorizerPayloadFormatVersion"),
        "EnableSimpleResponses": source.pop("enableSimpleResponses"),
    }
    unknown(source, set())
    return {"Type": "AWS::ApiGatewayV2::Authorizer", "Properties": properties}


def _integration(api: str, operation: dict[str, Any]) -> dict[str, Any]:
    source = dict(operation["x-amazon-apigateway-integration"])
    if source.pop("type") != "aws_proxy":
        raise NotExpanded("an integration that is not a Lambda proxy")
    properties = {
        "ApiId": {"Ref": api},
        "IntegrationType": "AWS_PROXY",
        "IntegrationMethod": source.pop("httpMethod"),
        "IntegrationUri": source.pop("uri"),
        "PayloadFormatVersion": source.pop("payloadFormatVersion"),
    }
    if "timeoutInMillis" in source:
        properties["TimeoutInMillis"] = source.pop("timeoutInMillis")
    unknown(source, set())
    return {"Type": "AWS::ApiGatewayV2::Integration", "Properties": properties}


def _route(
    api: str, route: str, key: str, operation: dict[str, Any], authorizers: set[str]
) -> dict[str, Any]:
    _only(operation, "x-amazon-apigateway-integration", "security", "parameters", "responses")
    if any(parameter["in"] != "path" for parameter in operation.get("parameters", [])):
        raise NotExpanded(f"{key} declares a parameter that is not of its path")
    if operation.get("responses"):
        raise NotExpanded(f"{key} declares responses")
    properties: dict[str, Any] = {
        "ApiId": {"Ref": api},
        "RouteKey": key,
        "Target": {"Fn::Join": ["/", ["integrations", {"Ref": f"{route}Integration"}]]},
    }
    # Without `security` the route would be open: SAM says so by the scheme NONE, nothing else may.
    [[(scheme, scopes)]] = [list(entry.items()) for entry in operation["security"]]
    if scopes:
        raise NotExpanded(f"{key} asks for scopes")
    if scheme in authorizers:
        properties |= {"AuthorizationType": "CUSTOM", "AuthorizerId": {"Ref": f"{api}{scheme}"}}
    elif scheme != "NONE":
        raise NotExpanded(f"{key} names the unknown authorizer {scheme}")
    return {"Type": "AWS::ApiGatewayV2::Route", "Properties": properties}


def _only(document: dict[str, Any], *known: str) -> None:
    unknown(document, set(known))


def unknown(document: dict[str, Any], known: set[str]) -> None:
    """Fails on a key that nobody looked at."""
    if extra := set(document) - known:
        raise NotExpanded(f"not expanded: {', '.join(sorted(extra))}")
