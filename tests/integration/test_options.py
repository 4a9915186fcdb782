"""What options of create do inside a container, and what a restore keeps of them."""

import subprocess

import pytest

SYSCTLS = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range /proc/sys/net/core/somaxconn"


def test_sysctls_of_a_network_namespace(engine):
    """Docker's defaults, the user's own, and both again where a restore makes the namespace anew."""
    engine.docker("run", "-d", "--name", "c1", "--sysctl", "net.core.somaxconn=77", "-u", "1000", "busybox", "sleep", "1000")
    wanted = ["0", "0", "2147483647", "77"]
    assert engine.out("exec", "c1", "sh", "-c", SYSCTLS).split() == wanted
    engine.docker("checkpoint", "create", "c1", "cp")
    engine.docker("start", "--checkpoint", "cp", "c1")
    assert engine.out("exec", "c1", "sh", "-c", SYSCTLS).split() == wanted
    refused = engine.docker("run", "--name", "c2", "--sysctl", "net.ipv4.nosuch=1", "busybox", "true", check=False)
    assert refused.returncode != 0 and "net.ipv4.nosuch" in refused.stderr
    own = engine.out("run", "--rm", "--sysctl", "net.ipv4.ip_unprivileged_port_start=99", "busybox", "sh", "-c", SYSCTLS)
    assert own.split()[0] == "99"


def test_an_exec_has_the_containers_limits(engine):
    engine.docker("run", "-d", "--name", "c1", "--ulimit", "nofile=200:300", "--ulimit", "core=0", "busybox", "sleep", "1000")
    assert engine.out("exec", "c1", "sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c").split() == ["200", "300", "0"]


def test_masked_and_read_only_paths(engine):
    look = "wc -c < /proc/keys; touch /proc/sys/kernel/domainname 2>&1; grep -c ' /proc/[a-z]' /proc/self/mounts"
    hidden = engine.out("run", "--rm", "busybox", "sh", "-c", look)
    assert hidden.split()[0] == "0" and "Read-only" in hidden and hidden.split()[-1] != "0"
    engine.docker("run", "-d", "--name", "c1", "--security-opt", "systempaths=unconfined", "busybox", "sleep", "1000")
    assert engine.inspect("c1", "{{json .HostConfig.MaskedPaths}} {{json .HostConfig.ReadonlyPaths}}") == "[] []"
    assert engine.out("exec", "c1", "sh", "-c", "grep -c ' /proc/[a-z]' /proc/self/mounts || true") == "0"


def test_ipc_modes(engine):
    engine.docker("run", "-d", "--name", "c1", "--ipc", "none", "busybox", "sleep", "1000")
    assert engine.inspect("c1", "{{.HostConfig.IpcMode}}") == "none"
    assert engine.out("exec", "c1", "sh", "-c", "ls /dev | grep -c shm || true") == "0"
    engine.docker("checkpoint", "create", "c1", "cp")
    engine.docker("start", "--checkpoint", "cp", "c1")
    assert engine.out("exec", "c1", "sh", "-c", "ls /dev | grep -c shm || true") == "0"


@pytest.fixture
def nested(tmp_path):
    """A directory with another mount below it."""
    (tmp_path / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path / "below"], check=True)
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path / "below"], check=True)


def test_read_only_binds_are_so_with_all_below(engine, nested):
    write = "touch /m/below/x 2>/dev/null && echo writable || echo read-only"
    mount = f"type=bind,source={nested},target=/m,readonly"
    engine.docker("run", "-d", "--name", "c1", "-v", f"{nested}:/m:ro", "busybox", "sleep", "1000")
    assert engine.out("exec", "c1", "sh", "-c", write) == "read-only"
    engine.docker("checkpoint", "create", "c1", "cp")
    engine.docker("start", "--checkpoint", "cp", "c1")
    assert engine.out("exec", "c1", "sh", "-c", write) == "read-only"
    assert engine.out("run", "--rm", "--mount", f"{mount},bind-recursive=writable", "busybox", "sh", "-c", write) == "writable"
    below = engine.out("run", "--rm", "--mount", f"{mount},bind-recursive=disabled", "busybox", "grep", "-c", " /m", "/proc/mounts")
    assert below == "1"


def test_resolv_conf(engine):
    text = engine.out("run", "--rm", "--dns", "198.51.100.7", "--dns-search", "example.org", "--dns-option", "ndots:2", "busybox",
                      "cat", "/etc/resolv.conf")
    assert text.splitlines()[-2:] == ["nameserver 198.51.100.7", "options ndots:2"] and "search example.org" in text
    assert "nameserver 127." not in engine.out("run", "--rm", "busybox", "cat", "/etc/resolv.conf")


def test_joining_anothers_network(engine):
    engine.docker("run", "-d", "--name", "c1", "--hostname", "first", "busybox", "sleep", "1000")
    ports = "net.ipv4.ip_local_port_range"
    engine.docker("run", "-d", "--name", "c2", "--network", "container:c1", "--sysctl", f"{ports}=2000 3000", "busybox", "sleep",
                  "1000")
    assert engine.out("exec", "c2", "hostname") == "first"
    assert "first" in engine.out("exec", "c2", "cat", "/etc/hosts", "/etc/hostname")
    assert engine.inspect("c2", "{{.Config.Hostname}}") == "first"
    refused = engine.docker("create", "--network", "container:c1", "--hostname", "h", "busybox", check=False)
    assert "conflicting options: hostname and the network mode" in refused.stderr
    engine.docker("create", "--name", "c3", "--network", "container:nosuch", "busybox", "true")
    assert "No such container: nosuch" in engine.docker("start", "c3", check=False).stderr
    engine.docker("create", "--name", "c4", "--network", "container:c4", "busybox", "true")
    assert "cannot join own network" in engine.docker("start", "c4", check=False).stderr
    for name in ("c2", "c1"):
        engine.docker("checkpoint", "create", name, "cp")
    for name in ("c1", "c2"):  # into a namespace that is made anew, with the sysctls of both
        engine.docker("start", "--checkpoint", "cp", name)
    look = "hostname; cat /etc/hostname /proc/sys/net/ipv4/ip_local_port_range"
    assert engine.out("exec", "c2", "sh", "-c", look).split() == ["first", "first", "2000", "3000"]


def test_the_engines_own_root_is_bound_as_a_slave(engine):
    root = engine.directory / "root"
    engine.docker("create", "--name", "c1", "-v", f"{root}:/r", "busybox")
    assert engine.inspect("c1", "{{(index .Mounts 0).Propagation}}") == "rslave"
    refused = engine.docker("create", "-v", f"{root}:/r:private", "busybox", check=False)
    assert 'must use either propagation mode "rslave" or "rshared"' in refused.stderr


def test_the_log_driver_local(engine):
    engine.docker("run", "--name", "c1", "--log-driver", "local", "--log-opt", "max-file=2", "busybox", "echo", "kept")
    assert engine.out("logs", "c1") == "kept"
    assert engine.inspect("c1", "{{.HostConfig.LogConfig.Type}} {{.LogPath}}").strip() == "local"


def test_users_that_are_no_users(engine):
    refused = engine.docker("run", "--rm", "-u", "-1", "busybox", "true", check=False)
    assert "uids and gids must be in range 0-2147483647" in refused.stderr
