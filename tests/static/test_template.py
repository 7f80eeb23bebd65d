"""What an emulator does not evaluate, checked in the template itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest
import template

SAM = template.load()["Resources"]
TRANSFORMED = template.transform({})["Resources"]
EXPANDED = template.expand(template.transform({}))["Resources"]

#: Routes that anybody may call. A new one must be added here, so that none is open by accident.
OPEN = {
    "GET /api/health",
    "GET /api/openapi.json",
    "GET /api/docs",
    # Whoever calls these proves by a signature who they are.
    "POST /v1/billing/webhooks/stripe",
    "POST /v1/github/webhooks",
    "POST /v1/shopify/webhooks",
    "POST /webhooks/receive/{proxy+}",
}


def of(resources: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Resources of one type, by logical id."""
    return {name: found for name, found in resources.items() if found["Type"] == kind}


FUNCTIONS = of(SAM, "AWS::Serverless::Function")
TABLES = of(SAM, "AWS::DynamoDB::Table")
QUEUES = of(SAM, "AWS::SQS::Queue")


def statements() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every inline statement of every function's role."""
    for name, role in of(TRANSFORMED, "AWS::IAM::Role").items():
        if name.removesuffix("Role") not in FUNCTIONS:
            continue
        for policy in role["Properties"].get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement


def as_list(value: Any) -> list[Any]:
    """CloudFormation writes a list of one without brackets."""
    return value if isinstance(value, list) else [value]


# Linters


@pytest.mark.parametrize(
    "command",
    [["cfn-lint", "template.yaml"], ["sam", "validate", "--lint", "--region", template.REGION]],
    ids=["cfn-lint", "sam validate --lint"],
)
def test_linters_find_nothing(command: list[str]) -> None:
    command[0] = str(Path(sys.executable).with_name(command[0]))
    environment = {**os.environ, "SAM_CLI_TELEMETRY": "0"}
    done = subprocess.run(command, cwd=template.ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# Routes


def test_only_the_listed_routes_are_open() -> None:
    routes = [route["Properties"] for route in of(EXPANDED, "AWS::ApiGatewayV2::Route").values()]
    assert len(routes) >= 10
    kinds = {route["RouteKey"]: route.get("AuthorizationType", "NONE") for route in routes}
    assert {key for key, kind in kinds.items() if kind == "NONE"} == OPEN
    assert {kind for key, kind in kinds.items() if key not in OPEN} == {"CUSTOM"}


def test_the_gateway_may_invoke_every_function_of_a_route() -> None:
    allowed: dict[str, set[str]] = {}
    for permission in of(TRANSFORMED, "AWS::Lambda::Permission").values():
        properties = permission["Properties"]
        assert properties["Action"] == "lambda:InvokeFunction"
        assert properties["Principal"] == "apigateway.amazonaws.com"
        assert properties["SourceArn"], "without one, any API of any account could invoke it"
        allowed.setdefault(function_of(properties["FunctionName"]), set()).add(source(properties))
    body = TRANSFORMED["Api"]["Properties"]["Body"]
    for path, methods in body["paths"].items():
        for method, operation in methods.items():
            uri = operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
            function = uri.split("functions/${")[1].split(".Arn}")[0]
            # A permission has `*` where the path has a parameter.
            pattern = "/".join("*" if part.startswith("{") else part for part in path.split("/"))
            assert f"{method.upper()}{pattern}" in allowed[function], f"{method} {path}"


def test_the_gateway_may_invoke_every_authorizer() -> None:
    schemes = TRANSFORMED["Api"]["Properties"]["Body"]["components"]["securitySchemes"]
    assert len(schemes) == 2
    for scheme, definition in schemes.items():
        authorizer = definition["x-amazon-apigateway-authorizer"]
        arn = authorizer["authorizerUri"]["Fn::Sub"][1]["__FunctionArn__"]
        permissions = of(TRANSFORMED, "AWS::Lambda::Permission").values()
        granted = [one for one in permissions if one["Properties"]["FunctionName"] == arn]
        assert len(granted) == 1, scheme
        assert "/authorizers/" in str(granted[0]["Properties"]["SourceArn"])
        assert authorizer["identitySource"], "without one, all callers would share an answer"


def function_of(reference: dict[str, Any]) -> str:
    """The logical id behind `Ref` or `Fn::GetAtt`."""
    return reference["Ref"] if "Ref" in reference else reference["Fn::GetAtt"][0]


def source(permission: dict[str, Any]) -> str:
    """Method and path of a permission's source."""
    arn = permission["SourceArn"]["Fn::Sub"]
    arn = arn if isinstance(arn, str) else arn[0]
    return arn.split("${__Stage__}/")[-1]


def test_origins_reach_the_gateway_as_a_list() -> None:
    cors = TRANSFORMED["Api"]["Properties"]["Body"]["x-amazon-apigateway-cors"]
    condition, given, otherwise = cors["Fn::If"]
    assert condition == "HasCorsOrigins"
    assert otherwise == {"Ref": "AWS::NoValue"}, "no other origin may call unless told"
    assert set(given["allowOrigins"]) == {"Fn::Split"}
    assert "x-api-key" in given["allowHeaders"]
    assert "allowCredentials" not in given


# Functions


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_built_from_a_member_and_ends_before_the_gateway_does(name: str) -> None:
    binary = template.function_binary(FUNCTIONS[name])
    assert (template.ROOT / "functions" / binary / "Cargo.toml").is_file()
    function = of(TRANSFORMED, "AWS::Lambda::Function")[name]["Properties"]
    events = FUNCTIONS[name]["Properties"].get("Events", {}).values()
    # A schedule and a queue wait longer than the gateway does.
    patient = bool(events) and all(event["Type"] in ("ScheduleV2", "SQS") for event in events)
    assert function["Timeout"] <= (900 if patient else 29)
    assert function["TracingConfig"] == {"Mode": "Active"}
    assert function["LoggingConfig"]["LogGroup"] == {"Ref": "Logs"}
    assert function["Runtime"].startswith("provided.")


def test_every_function_crate_is_in_the_template() -> None:
    crates = {path.parent.name for path in (template.ROOT / "functions").glob("*/Cargo.toml")}
    assert crates == {template.function_binary(function) for function in FUNCTIONS.values()}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_may_assume_its_own_role_only(name: str) -> None:
    role = TRANSFORMED[f"{name}Role"]["Properties"]
    [statement] = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": ["lambda.amazonaws.com"]}
    managed = {arn.rsplit("/", 1)[1] for arn in role["ManagedPolicyArns"]}
    expected = {"AWSLambdaBasicExecutionRole", "AWSXrayWriteOnlyAccess"}
    if any(event["Type"] == "SQS" for event in FUNCTIONS[name]["Properties"].get("Events", {}).values()):
        # What SAM gives for the queue's poller: receiving, deleting, and the depth.
        expected.add("AWSLambdaSQSQueueExecutionRole")
    assert managed == expected


def test_no_grant_is_for_everything() -> None:
    found = list(statements())
    assert found
    for role, statement in found:
        assert statement["Effect"] == "Allow", role
        assert set(statement) == {"Sid", "Effect", "Action", "Resource"}, role
        for action in as_list(statement["Action"]):
            assert "*" not in action, (role, action)
            assert action != "dynamodb:Scan", "lists are read by query"
        for resource in as_list(statement["Resource"]):
            # The deployment's own secrets, all or one, whose names end in letters that nobody chose.
            scoped = re.sub(r":secret:\$\{SecretsPrefix\}/[A-Z_]*\*", "", str(resource))
            assert "*" not in scoped, (role, resource)


def test_a_schedule_may_do_nothing_but_invoke_its_function() -> None:
    roles = of(TRANSFORMED, "AWS::IAM::Role")
    schedules = of(TRANSFORMED, "AWS::Scheduler::Schedule")
    assert schedules
    for name, schedule in schedules.items():
        target = schedule["Properties"]["Target"]
        role = roles.pop(function_of(target["RoleArn"]))["Properties"]
        [trusted] = role["AssumeRolePolicyDocument"]["Statement"]
        assert trusted["Principal"] == {"Service": ["scheduler.amazonaws.com"]}, name
        [policy] = role["Policies"]
        [statement] = policy["PolicyDocument"]["Statement"]
        assert statement["Action"] == "lambda:InvokeFunction", name
        assert statement["Resource"] == target["Arn"], name
    assert {role.removesuffix("Role") for role in roles} == set(FUNCTIONS)


def test_the_vaults_key_is_used_in_context_only() -> None:
    policy = SAM["VaultKey"]["Properties"]["KeyPolicy"]["Statement"]
    cryptography = ("Encrypt", "Decrypt", "ReEncrypt", "GenerateDataKey", "CreateGrant", "*")
    for statement in policy:
        uses = {
            action
            for action in as_list(statement["Action"])
            if action.removeprefix("kms:").startswith(cryptography)
        }
        if uses:
            assert set(statement["Condition"]["Null"].values()) == {"false"}
            named = {key.removeprefix("kms:EncryptionContext:") for key in statement["Condition"]["Null"]}
            assert named == {"workspace", "credential", "version"}
            assert "kms:CreateGrant" not in uses, "a grant would not ask for the context"


def test_who_moves_data_keys_cannot_open_them() -> None:
    actions = [
        action
        for role, statement in statements()
        if role == "VaultRewrapFunctionRole"
        for action in as_list(statement["Action"])
    ]
    assert {action for action in actions if action.startswith("kms:")} == {
        "kms:ReEncryptFrom",
        "kms:ReEncryptTo",
    }


def test_a_queue_worker_answers_per_message() -> None:
    for name, function in FUNCTIONS.items():
        for event in function["Properties"].get("Events", {}).values():
            if event["Type"] == "SQS":
                assert event["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"], name


# State


@pytest.mark.parametrize("name", TABLES)
def test_a_table_survives_mistakes(name: str) -> None:
    table = TABLES[name]
    assert table["DeletionPolicy"] == table["UpdateReplacePolicy"] == "Retain"
    properties = table["Properties"]
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    assert properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert properties["SSESpecification"] == {
        "SSEEnabled": True,
        "SSEType": "KMS",
        "KMSMasterKeyId": {"Fn::GetAtt": ["DataKey", "Arn"]},
    }


def test_keys_rotate_and_stay() -> None:
    for key in of(SAM, "AWS::KMS::Key").values():
        assert key["DeletionPolicy"] == key["UpdateReplacePolicy"] == "Retain"
        assert key["Properties"]["EnableKeyRotation"] is True


def test_a_queue_hides_a_message_for_six_times_its_workers_time() -> None:
    for name, function in FUNCTIONS.items():
        for event in function["Properties"].get("Events", {}).values():
            if event["Type"] == "SQS":
                timeout = of(TRANSFORMED, "AWS::Lambda::Function")[name]["Properties"]["Timeout"]
                queue = QUEUES[function_of(event["Properties"]["Queue"])]["Properties"]
                assert queue["VisibilityTimeout"] == 6 * timeout, name


def test_queues_have_somewhere_to_put_what_fails() -> None:
    policies = {name: queue["Properties"].get("RedrivePolicy") for name, queue in QUEUES.items()}
    dead = {function_of(policy["deadLetterTargetArn"]) for policy in policies.values() if policy}
    for name, policy in policies.items():
        assert policy or name in dead, name


# Operations


def test_logs_end() -> None:
    groups = of(SAM, "AWS::Logs::LogGroup")
    assert groups
    for name, group in groups.items():
        assert group["Properties"]["RetentionInDays"], name


def test_errors_and_throttles_of_every_function_and_table_are_noticed() -> None:
    watched = set()
    for alarm in of(SAM, "AWS::CloudWatch::Alarm").values():
        properties = alarm["Properties"]
        assert properties["TreatMissingData"] == "notBreaching"
        assert properties["AlarmActions"]
        several = properties.get("Metrics", [])
        metrics = [one["MetricStat"]["Metric"] for one in several if "MetricStat" in one]
        assert len(metrics) <= 10, "CloudWatch takes no more"
        for metric in metrics or [properties]:
            dimensions = {one["Name"]: one["Value"] for one in metric["Dimensions"]}
            [resource] = [function_of(value) for value in dimensions.values() if isinstance(value, dict)]
            index = dimensions.get("GlobalSecondaryIndexName")
            watched.add((metric["MetricName"], resource, index))
    wanted = {(metric, name, None) for name in FUNCTIONS for metric in ("Errors", "Throttles")}
    for name, table in TABLES.items():
        indexes = [index["IndexName"] for index in table["Properties"].get("GlobalSecondaryIndexes", [])]
        for index in [None, *indexes]:
            wanted |= {("ReadThrottleEvents", name, index), ("WriteThrottleEvents", name, index)}
    dead = {name for name, queue in QUEUES.items() if "RedrivePolicy" not in queue["Properties"]}
    wanted |= {("ApproximateNumberOfMessagesVisible", name, None) for name in dead}
    wanted.add(("5xx", "Api", None))
    assert watched == wanted
