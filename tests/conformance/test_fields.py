"""Every field that the Engine API's document (1.47) has for a container to be made is heeded and shown, warned of, or
refused: none is dropped in silence."""

import hashlib
import io
import json
import pathlib
import tarfile

import pytest

# Values that ask for something. A member of it stands for what inspect must show.
CONFIG = {
    "Hostname": "h", "Domainname": "d", "User": "1000", "AttachStdin": True, "AttachStdout": True, "AttachStderr": True,
    "ExposedPorts": {"80/tcp": {}}, "Tty": True, "OpenStdin": True, "StdinOnce": True, "Env": ["A=b"], "Cmd": ["true"],
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000, "Retries": 2}, "ArgsEscaped": True, "Volumes": {"/v": {}},
    "WorkingDir": "/tmp", "Entrypoint": ["sh"], "NetworkDisabled": True, "MacAddress": "02:42:ac:11:00:02", "OnBuild": ["RUN x"],
    "Labels": {"a": "b"}, "StopSignal": "SIGINT", "StopTimeout": 3, "Shell": ["/bin/sh"]}
HOST_CONFIG = {
    "CpuShares": 100, "Memory": 64 << 20, "CgroupParent": "/x", "BlkioWeight": 300,
    "BlkioWeightDevice": [{"Path": "/dev/null", "Weight": 20}], "BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 1}],
    "BlkioDeviceWriteBps": [{"Path": "/dev/null", "Rate": 1}], "BlkioDeviceReadIOps": [{"Path": "/dev/null", "Rate": 1}],
    "BlkioDeviceWriteIOps": [{"Path": "/dev/null", "Rate": 1}], "CpuPeriod": 50000, "CpuQuota": 20000, "CpuRealtimePeriod": 1000,
    "CpuRealtimeRuntime": 1000, "CpusetCpus": "0", "CpusetMems": "0",
    "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}],
    "DeviceCgroupRules": ["c 13:* rwm"], "DeviceRequests": [{"Driver": "nvidia", "Count": -1}], "KernelMemoryTCP": 1 << 20,
    "MemoryReservation": 8 << 20, "MemorySwap": 1 << 30, "MemorySwappiness": 60, "NanoCpus": 500000000, "OomKillDisable": True,
    "Init": True, "PidsLimit": 50, "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}], "CpuCount": 1, "CpuPercent": 20,
    "IOMaximumIOps": 5, "IOMaximumBandwidth": 5, "Binds": ["/tmp:/b"], "ContainerIDFile": "/tmp/x",
    "LogConfig": {"Type": "local", "Config": {"max-size": "1m"}}, "NetworkMode": "host",
    "PortBindings": {"80/tcp": [{"HostPort": "8080"}]}, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
    "AutoRemove": True, "VolumeDriver": "x", "VolumesFrom": ["c"],
    "Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/m", "ReadOnly": True, "Consistency": "cached",
                "BindOptions": {"Propagation": "rslave", "NonRecursive": True, "CreateMountpoint": True,
                                "ReadOnlyNonRecursive": True}},
               {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 4096, "Mode": 448, "Options": [["exec"]]}}],
    "ConsoleSize": [24, 80], "Annotations": {"a": "b"}, "CapAdd": ["NET_ADMIN"], "CapDrop": ["MKNOD"], "CgroupnsMode": "host",
    "Dns": ["198.51.100.1"], "DnsOptions": ["ndots:2"], "DnsSearch": ["example.org"], "ExtraHosts": ["a:198.51.100.2"],
    "GroupAdd": ["7"], "IpcMode": "none", "Cgroup": "x", "Links": ["a:b"], "OomScoreAdj": 100, "PidMode": "host",
    "Privileged": True, "PublishAllPorts": True, "ReadonlyRootfs": True, "SecurityOpt": ["no-new-privileges"],
    "StorageOpt": {"size": "1G"}, "Tmpfs": {"/u": "size=1m"}, "UTSMode": "host", "UsernsMode": "host", "ShmSize": 1 << 20,
    "Sysctls": {"net.core.somaxconn": "77"}, "Runtime": "runc", "Isolation": "hyperv", "MaskedPaths": ["/proc/keys"],
    "ReadonlyPaths": ["/proc/sys"]}
TOGETHER = {"MemorySwap": {"Memory": 64 << 20}}  # what a field needs beside it


def holds(shown, sent):
    """Whether what inspect shows has all that was sent."""
    if isinstance(sent, dict):
        return isinstance(shown, dict) and all(holds(shown.get(k), v) for k, v in sent.items())
    if isinstance(sent, list) and isinstance(shown, list):
        return all(item in shown for item in sent)  # the image's are merged in
    return shown == sent


def fate(api, field, value, host):
    body = {"Image": "busybox", "Cmd": ["true"]}
    if host:
        body["HostConfig"] = {**TOGETHER.get(field, {}), field: value}
    else:
        body[field] = value
    answer = api._post_json(api._url("/containers/create"), body)
    reply = answer.json()
    if answer.status_code != 201:
        return "refused", field in reply["message"] or answer.status_code == 501
    shown = api.inspect_container(reply["Id"])
    api.remove_container(reply["Id"])
    kept = holds(shown["HostConfig" if host else "Config"].get(field), value)
    if any(field in warning for warning in reply["Warnings"]):
        return "warned of", kept or field in ("OomKillDisable", "MemorySwappiness")  # cgroup v2: discarded
    return "shown", kept


def test_no_field_is_dropped_in_silence(client):
    fates = {}
    for host, fields in ((False, CONFIG), (True, HOST_CONFIG)):
        for field, value in fields.items():
            fates[field] = fate(client.api, field, value, host)
    assert not [field for field, (_, good) in fates.items() if not good], fates
    refused = {field for field, (how, _) in fates.items() if how == "refused"}
    warned = {field for field, (how, _) in fates.items() if how == "warned of"}
    assert refused == {"Volumes", "CgroupParent", "BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps",
                       "BlkioDeviceWriteIOps", "CpuRealtimePeriod", "CpuRealtimeRuntime", "DeviceCgroupRules", "DeviceRequests",
                       "PortBindings", "VolumeDriver", "VolumesFrom", "CgroupnsMode", "Cgroup", "Links", "PublishAllPorts",
                       "StorageOpt", "Isolation"}
    assert warned == {"Healthcheck", "MacAddress", "BlkioWeight", "BlkioWeightDevice", "KernelMemoryTCP", "CpuCount", "CpuPercent",
                      "IOMaximumIOps", "IOMaximumBandwidth"} | ({"OomKillDisable", "MemorySwappiness"} & warned)


def test_what_docker_fills_in_at_create(client):
    """Also: what is warned of is shown all the same, volumes that Compose 1.29 names beside their binds are none, and
    docker-py finds the container's network by its mode."""
    api = client.api
    reply = api._post_json(api._url("/containers/create"), {
        "Image": "busybox", "Cmd": ["sleep", "1000"], "WorkingDir": "/tmp//x/..", "Volumes": {"/data": {}},
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "HostConfig": {
            "Binds": ["/tmp:/data:rw"], "Tmpfs": {"/u": "shared"}, "CpuCount": 1}}).json()
    assert any("CpuCount" in warning for warning in reply["Warnings"])
    container = client.containers.get(reply["Id"])
    container.start()
    container.reload()
    host = container.attrs["HostConfig"]
    assert host["IpcMode"] == "private" and host["ShmSize"] == 64 << 20 and host["CpuCount"] == 1 and host["Dns"] is None
    assert "/proc/keys" in host["MaskedPaths"] and "/proc/sys" in host["ReadonlyPaths"]
    assert container.attrs["Config"]["WorkingDir"] == "/tmp"
    assert container.attrs["Config"]["Volumes"] == {"/data": {}}
    assert [mount["Destination"] for mount in container.attrs["Mounts"]] == ["/data"]
    settings = container.attrs["NetworkSettings"]
    assert host["NetworkMode"] in settings["Networks"]
    assert settings["Ports"] == {"80/tcp": None, "53/udp": None}
    ports = api.containers()[0]["Ports"]
    assert sorted((port["PrivatePort"], port["Type"]) for port in ports) == [(53, "udp"), (80, "tcp")]


def test_words_of_refusals(client):
    api = client.api

    def refusal(body, version="v1.41"):
        answer = api._post_json(f"{api.base_url}/{version}/containers/create", body)
        assert answer.status_code == 400, answer.text
        return answer.json()["message"]

    def with_host(**host):
        return refusal({"Image": "busybox", "Cmd": ["true"], "HostConfig": host})

    assert refusal({}) == "No command specified"
    assert with_host(CpusetCpus="1-42,,") == "Invalid value 1-42,, for cpuset cpus: invalid format: 1-42,,"
    assert "Requested memory nodes are not available - requested 77" in with_host(CpusetMems="77")
    assert with_host(CpuShares=1) == "The minimum allowed cpu-shares is 2"
    assert "failed to initialize logging driver" in with_host(LogConfig={"Type": "json-file", "Config": {"max-size": "much"}})
    assert "cannot be used with restart policy 'always'" in with_host(RestartPolicy={"Name": "always", "MaximumRetryCount": 1})
    assert with_host(NetworkMode="container:x", Dns=["1.1.1.1"]) == "conflicting options: dns and the network mode"


def test_a_paused_container_is_named_as_it_was_asked_for(client):
    docker = pytest.importorskip("docker")
    container = client.containers.run("busybox", ["sleep", "1000"], name="c1", detach=True)
    container.pause()
    for name in ("c1", container.short_id):
        with pytest.raises(docker.errors.APIError) as refused:
            client.api.exec_create(name, ["true"])
        assert refused.value.status_code == 409
        assert refused.value.explanation == f"Container {name} is paused, unpause the container before exec"
    container.unpause()


def test_swappiness_and_the_oom_killer_are_heeded(client):
    """Where the host's cgroups have them, which are those of version 1; else they are warned of and not shown."""
    reply = client.api._post_json(client.api._url("/containers/create"), {
        "Image": "busybox", "Cmd": ["sleep", "1000"],
        "HostConfig": {"MemorySwappiness": 37, "OomKillDisable": True, "Memory": 64 << 20}}).json()
    container = client.containers.get(reply["Id"])
    container.start()
    group = pathlib.Path("/sys/fs/cgroup/memory/stasis") / reply["Id"]
    host = container.attrs["HostConfig"]
    if group.is_dir():
        assert (group / "memory.swappiness").read_text() == "37\n"
        assert "oom_kill_disable 1\n" in (group / "memory.oom_control").read_text()
        assert host["MemorySwappiness"] == 37 and host["OomKillDisable"] is True and not reply["Warnings"]
    else:
        assert [warning for warning in reply["Warnings"] if "swappiness discarded" in warning]
        assert [warning for warning in reply["Warnings"] if "OomKillDisable discarded" in warning]
        assert not host["OomKillDisable"] and host["MemorySwappiness"] in (None, -1)


def with_health_check(archive, changed):
    """The image of a `docker save` archive under the name checked:1, with a health check of its own."""
    with tarfile.open(archive) as source, tarfile.open(changed, "w") as target:
        manifest = json.load(source.extractfile("manifest.json"))
        config = json.load(source.extractfile(manifest[0]["Config"]))
        config.setdefault("config", {})["Healthcheck"] = {"Test": ["CMD", "true"]}
        text = json.dumps(config).encode()
        replaced = {manifest[0]["Config"]: None, "manifest.json": None, "repositories": None}
        for member in source:
            if member.name not in replaced:
                target.addfile(member, source.extractfile(member) if member.isreg() else None)
        manifest[0] |= {"Config": hashlib.sha256(text).hexdigest() + ".json", "RepoTags": ["checked:1"]}
        for name, content in ((manifest[0]["Config"], text), ("manifest.json", json.dumps(manifest).encode())):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))


def test_the_health_check_of_an_image_is_warned_of(engine, client, tmp_path):
    with_health_check(engine.directory / "busybox.tar", tmp_path / "checked.tar")
    engine.docker("load", "-i", tmp_path / "checked.tar")

    def warnings(**body):
        return client.api._post_json(client.api._url("/containers/create"), {"Image": "checked:1", **body}).json()["Warnings"]

    warned = ["Healthcheck is not implemented by Stasis yet and is ignored"]
    assert warnings() == warned
    assert warnings(Healthcheck={"Test": ["CMD", "false"]}) == warned, "once"
    assert not warnings(Healthcheck={"Test": ["NONE"]})
    engine.remove_all()
    engine.docker("rmi", "checked:1")


def test_a_start_with_a_body_is_refused(client):
    container = client.containers.create("busybox", [""])
    answer = client.api._post_json(client.api._url("/containers/{0}/start", container.id), {"Binds": ["/tmp:/x"]})
    assert answer.status_code == 400 and "removed in v1.24" in answer.json()["message"]
    docker = pytest.importorskip("docker")
    with pytest.raises(docker.errors.APIError):  # an empty word is no program
        container.start()
    container.reload()
    assert container.attrs["State"]["ExitCode"] == 127
