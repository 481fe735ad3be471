from pathlib import Path

import pytest

from infra.settings import Settings, SettingsError, secret, unknown_names, variable


def test_settings_without_an_environment() -> None:
    """Every default is the documented one, and binds loopback only."""
    settings = Settings.load()
    assert (settings.host, settings.port, settings.redis_url) == ("127.0.0.1", 8080, None)
    assert (settings.data, settings.functions) == (Path(".data"), Path("functions"))
    assert (settings.workers, settings.threads, settings.fsync, settings.lease_s) == (1, 8, "always", 5.0)


@pytest.mark.parametrize(("written", "seconds"), [("7s", 7.0), ("1m30s", 90.0), ("12", 12.0), ("500ms", 0.5)])
def test_a_duration(monkeypatch: pytest.MonkeyPatch, written: str, seconds: float) -> None:
    """Durations are read as people write them; a bare number counts seconds."""
    monkeypatch.setenv("ONCUE_LEASE", written)
    assert Settings.load().lease_s == seconds


def test_what_the_command_line_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option goes before the environment; an option that is not given does not."""
    monkeypatch.setenv("ONCUE_PORT", "9001")
    assert Settings.load(port=None).port == 9001
    assert Settings.load(port=9002).port == 9002


def test_settings_handed_to_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child process that reads what `environment` wrote has the same settings, wherever it runs."""
    settings = Settings.load(port=9003, lease_s=2.5, log_level="DEBUG", redis_url="unix:///run/x.sock")
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    expected = settings.model_copy(update={"data": settings.data.absolute(), "functions": settings.functions.absolute()})
    assert Settings.load() == expected


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_an_address_beyond_loopback(host: str) -> None:
    """What others can reach is known as such, so that it is served only with a key."""
    assert not Settings.load(host=host).is_loopback


@pytest.mark.parametrize(("written", "words"), [("a.example, b.example", ("a.example", "b.example")), ("", ()), (" , ", ())])
def test_a_list_of_words(monkeypatch: pytest.MonkeyPatch, written: str, words: tuple[str, ...]) -> None:
    """Lists are written with commas, and travel to child processes as they are."""
    monkeypatch.setenv("ONCUE_HOSTS", written)
    settings = Settings.load()
    assert settings.hosts == words
    monkeypatch.setenv("ONCUE_HOSTS", settings.environment()["ONCUE_HOSTS"])
    assert Settings.load().hosts == words


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_a_loopback_address(host: str) -> None:
    """Every loopback address is fine, and makes a URL that can be called."""
    settings = Settings.load(host=host)
    assert settings.is_loopback
    assert settings.base_url == f"http://{'[::1]' if host == '::1' else host}:8080"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ONCUE_PORT", "70000"),
        ("ONCUE_LEASE", "soon"),
        ("ONCUE_FSYNC", "never"),
        ("ONCUE_WORKERS", "0"),
        ("ONCUE_RATE_LIMIT", "fast"),
        ("ONCUE_PROXIES", "10.0.0.300"),
        ("ONCUE_STORE", "bucket"),
        ("ONCUE_URL", "localhost:8080"),
        ("ONCUE_PUBLIC_URL", "hooks.example.org"),
        ("ONCUE_RETENTION", "forever"),
    ],
)
def test_a_value_that_cannot_be(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """The error names the variable, the value and the cure, in one line."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=rf"^{name}={value}: [^\n]+$") as refused:
        Settings.load()
    assert "Input should" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("ONCUE_REDIS_URL", "http://u:hunter2@h"), ("ONCUE_BROKER", "http://u:hunter2@h"), ("ONCUE_KEY", "hunter2 ")],
)
def test_a_bad_value_that_holds_a_secret(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """It is named, and its value is not shown."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=rf"^{name}=…: ") as refused:
        Settings.load()
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_an_empty_value(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It is as good as none, as compose files write what is not set."""
    monkeypatch.setenv(variable(name), "")
    assert Settings.load() == Settings()


def test_names_that_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are known as such, so that `up` can say that they do nothing."""
    for name in ("ONCUE_TIMEOUT", "ONCUE_SECRET_X", "ONCUE_CONNECTION_MAIN", "ONCUE_WORKERS"):
        monkeypatch.setenv(name, "1")
    assert unknown_names() == ["ONCUE_TIMEOUT"]


def test_a_misspelt_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is almost a setting's is refused, with the setting's name."""
    monkeypatch.setenv("ONCUE_PROT", "9000")
    with pytest.raises(SettingsError, match="unknown setting ONCUE_PROT; did you mean ONCUE_PORT"):
        Settings.load()


def test_variables_that_kubernetes_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Service links of a service named `oncue` do not stop the start."""
    for name in ("ONCUE_SERVICE_HOST", "ONCUE_SERVICE_PORT_HTTP", "ONCUE_PORT_8080_TCP_ADDR", "ONCUE_SECRET_PORTX"):
        monkeypatch.setenv(name, "10.0.0.1")
    assert Settings.load().port == 8080


def test_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret is read under its prefix; an empty one counts as missing."""
    monkeypatch.setenv("ONCUE_SECRET_SMTP_URL", "smtp://x")
    monkeypatch.setenv("ONCUE_SECRET_EMPTY", "")
    assert (secret("SMTP_URL"), secret("EMPTY"), secret("ABSENT")) == ("smtp://x", None, None)


def test_names_of_variables() -> None:
    """The unit of a field is not part of its variable's name."""
    assert (variable("lease_s"), variable("redis_url")) == ("ONCUE_LEASE", "ONCUE_REDIS_URL")


@pytest.mark.parametrize(
    "url", ["hooks.example.org", "ftp://x.example", "https://", "https://x.example/?a=1", "https://me:secret@x.example"]
)
def test_a_public_url_that_is_none(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What senders cannot call as a base is refused."""
    monkeypatch.setenv("ONCUE_PUBLIC_URL", url)
    with pytest.raises(SettingsError, match="ONCUE_PUBLIC_URL"):
        Settings.load()
