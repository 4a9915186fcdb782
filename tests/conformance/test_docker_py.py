"""The same engine by docker-py: another client, with its own idea of the API."""

import json
import time

import pytest

from harness import wait_until


def test_a_life_by_docker_py(client):
    container = client.containers.run("busybox", ["sh", "-c", "echo hello; exec sleep 1000"], detach=True, name="c1",
                                      labels={"k": "v"}, environment={"A": "b"})
    wait_until(lambda: container.logs() == b"hello\n", "the log is there")
    container.reload()
    assert container.status == "running" and container.labels == {"k": "v"}
    code, output = container.exec_run(["sh", "-c", "echo $A; exit 4"])
    assert (code, output) == (4, b"b\n")
    assert [c.name for c in client.containers.list(filters={"label": "k=v"})] == ["c1"]
    container.pause()
    container.reload()
    assert container.status == "paused"
    container.unpause()
    container.stop(timeout=1)
    assert container.wait()["StatusCode"] in (137, 143)
    container.remove()
    assert client.containers.list(all=True) == []


def test_run_returns_output_and_raises_on_failure(client):
    docker = pytest.importorskip("docker")
    assert client.containers.run("busybox", "echo hi", remove=True) == b"hi\n"
    with pytest.raises(docker.errors.ContainerError) as failure:
        client.containers.run("busybox", "sh -c 'echo bad >&2; exit 3'", remove=True)
    assert failure.value.exit_status == 3
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get("nosuch")
    with pytest.raises(docker.errors.NotFound):
        client.containers.get("nosuch")


def test_checkpoints_by_the_plain_api(client):
    """docker-py has no checkpoint calls of its own: its users make them so."""
    container = client.containers.run("busybox", ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"],
                                      detach=True, name="c1")
    wait_until(lambda: container.logs(), "it counts")
    api = client.api
    url = api._url("/containers/{0}/checkpoints", container.id)
    answer = api._post_json(url, {"CheckpointID": "cp", "Exit": True})
    assert answer.status_code == 201
    assert api._result(api._get(url), True) == [{"Name": "cp"}]
    before = len(container.logs().split())
    started = api._post(api._url("/containers/{0}/start", container.id), params={"checkpoint": "cp"})
    assert started.status_code == 204
    wait_until(lambda: len(container.logs().split()) > before, "it counts on")
    numbers = [int(n) for n in container.logs().split()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert api._delete(url + "/cp").status_code == 204


def test_attach_stream(client):
    container = client.containers.create("busybox", ["sh", "-c", "for i in 1 2 3; do echo $i; done"])
    stream = container.attach(stream=True, logs=False)
    container.start()
    assert b"".join(stream).split() == [b"1", b"2", b"3"]
    assert container.wait()["StatusCode"] == 0


def test_events_stream(client):
    stream = client.events(decode=True, filters={"type": "container"})
    client.containers.run("busybox", "true", name="c1", remove=True)
    seen = []
    for event in stream:
        seen.append(event["Action"])
        if event["Action"] == "destroy":
            break
    stream.close()
    assert [a for a in seen if a in ("create", "start", "die", "destroy")] == ["create", "start", "die", "destroy"]


def test_version_and_info(client):
    version = client.version()
    assert version["ApiVersion"] == "1.47" and version["MinAPIVersion"] == "1.22" and version["Os"] == "linux"
    info = client.info()
    assert info["Images"] >= 1 and info["NCPU"] >= 1 and info["MemTotal"] > 0
    assert client.ping()


def told(client, since, **filters):
    """What happened from `since` on, as (action, signal or None)."""
    events = client.events(since=since, until=time.time(), filters=filters, decode=True)
    return [(e["Action"], e["Actor"]["Attributes"].get("signal")) for e in events]


def test_events_of_attach_resize_stop_restart_and_removal(client):
    since = time.time()
    container = client.containers.create("busybox", ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"],
                                         name="events", labels={"k": "two words"},
                                         log_config={"Type": "json-file", "Config": {"labels": "k"}})
    stream = container.attach(stream=True)
    container.start()
    assert next(iter(stream)) == b"up\n"
    sizes = client.api.containers(size=True, filters={"name": "events"})
    assert sizes[0]["SizeRw"] == 0  # it has written nothing
    container.resize(24, 80)  # it has no terminal
    container.restart(timeout=0)
    details = client.api._get(client.api._url("/containers/events/logs"), params={"stdout": 1, "details": 1, "tail": "random"})
    assert b"k=two+words up\n" in details.content
    container.remove(force=True)
    events = told(client, since, container="even")
    assert events.count(("die", None)) == 2
    assert [e for e in events if e[0] != "die"] == [  # which may be told before the signal that it came of
        ("create", None), ("attach", None), ("start", None), ("resize", None), ("kill", "15"), ("kill", "9"),
        ("stop", None), ("start", None), ("restart", None), ("kill", "9"), ("destroy", None)]


def test_a_signal_counts_as_the_users_stop_unless_another_is_the_stop_signal(client):
    docker = pytest.importorskip("docker")
    command = ["sh", "-c", "trap 'exit 3' USR1; echo up; while :; do sleep 0.1; done"]
    always = {"Name": "always"}
    stops = client.containers.run("busybox", command, detach=True, restart_policy=always)
    goes_on = client.containers.run("busybox", command, detach=True, restart_policy=always, stop_signal="SIGTERM")
    for container in (stops, goes_on):
        wait_until(lambda: container.logs() == b"up\n", "it is up")
    prepared = client.api.exec_create(stops.id, "true")["Id"]
    stops.pause()  # the signal thaws it
    for container in (stops, goes_on):
        container.kill("USR1")
    assert stops.wait()["StatusCode"] == 3
    wait_until(lambda: client.api.inspect_container(goes_on.id)["RestartCount"] == 1, "it was started again")
    state = client.api.inspect_container(stops.id)
    assert (state["State"]["Status"], state["RestartCount"]) == ("exited", 0)
    with pytest.raises(docker.errors.NotFound, match="No such exec instance"):
        client.api.exec_start(prepared)
    with pytest.raises(docker.errors.APIError, match="Error when allocating new name: Conflict"):
        stops.rename(goes_on.name)


def test_images_tags_events_and_filters(client):
    docker = pytest.importorskip("docker")
    since = time.time()
    api = client.api
    image = client.images.get("library/busybox")
    assert image == client.images.get("busybox")
    imported = api._result(api._post(api._url("/images/create"), params={"fromSrc": "-", "repo": "empty", "message": "why"},
                                     data=b"")).strip()
    empty = api.inspect_image("empty")
    assert json.loads(imported)["status"] == empty["Id"]
    assert (empty["Comment"], empty["Size"], len(empty["RootFS"]["Layers"])) == ("why", 0, 1)
    assert api.tag("empty", "docker.io/library/evt", "1")
    with pytest.raises(docker.errors.APIError, match="refusing to create an ambiguous tag using digest algorithm as name"):
        api.tag("empty", "sha256", "foo")
    listed = api.images("evt")
    assert [i["RepoTags"] for i in listed] == [["evt:1"]]
    assert empty["Id"] in [i["Id"] for i in api.images(filters={"since": "busybox"})]
    assert empty["Id"] not in [i["Id"] for i in api.images(filters={"before": "evt:1"})]
    for filters in ({"dangling": ["invalid"]}, {"until": ["soon"]}):
        with pytest.raises(docker.errors.APIError, match="invalid filter"):
            api.images(filters=filters)
    with pytest.raises(docker.errors.APIError, match="image name cannot be blank"):
        api._raise_for_status(api._delete(api._url("/images/{0}", " ")))
    api.remove_image("evt:1")
    api.remove_image("empty")
    events = client.events(since=since, until=time.time(), filters={"type": "image"}, decode=True)
    assert [(e["Action"], e["Actor"]["ID"], e["Actor"]["Attributes"]["name"]) for e in events] == [
        ("tag", empty["Id"], "empty:latest"), ("import", empty["Id"], empty["Id"]), ("tag", empty["Id"], "evt:1"),
        ("untag", empty["Id"], empty["Id"]), ("untag", empty["Id"], empty["Id"]), ("delete", empty["Id"], empty["Id"])]


def test_networks_volumes_and_swarm_are_answered(client):
    docker = pytest.importorskip("docker")
    assert sorted(n.name for n in client.networks.list()) == ["bridge", "host", "none"]
    assert client.networks.get("none").attrs["Driver"] == "null"
    assert client.networks.list(names=["project_default"]) == [] and client.volumes.list() == []
    with pytest.raises(docker.errors.NotFound):
        client.volumes.get("data")
    with pytest.raises(docker.errors.APIError, match="This node is not a swarm manager") as failure:
        client.nodes.list()
    assert failure.value.response.status_code == 503
