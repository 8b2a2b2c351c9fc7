"""Environment files."""

from streamward.functions.env import mode_name, read_environment


def test_strength_quotes_and_expansion(tmp_path):
    """Real environment, .env.<mode>.local, .env.local, .env.<mode>, .env."""
    (tmp_path / ".env").write_text("A=1\nB=1\nC=1\nD=1\nexport E='single ${A}' # note\nF=\"two\\nlines\"\nG=${A}-${HOME_X}\n")
    (tmp_path / ".env.production").write_text("B=2\nC=2\nD=2\n")
    (tmp_path / ".env.local").write_text("C=3\nD=3\n")
    (tmp_path / ".env.production.local").write_text("D=4\n")

    seen = read_environment(tmp_path, "production", {"A": "0", "HOME_X": "h"}).variables

    expected = {
        "A": "0",
        "B": "2",
        "C": "3",
        "D": "4",
        "F": "two\nlines",
        "G": "0-h",
        "STREAMWARD": "1",
        "STREAMWARD_ENV": "production",
    }
    assert expected == {key: seen[key] for key in expected}


def test_bad_names_are_warned_of_without_their_values(tmp_path):
    (tmp_path / ".env").write_text("1BAD=secret\nGOOD=1\nA-B=secret\n")

    seen = read_environment(tmp_path, "development", {})

    assert (seen.variables["GOOD"], len(seen.warnings)) == ("1", 2)
    assert "secret" not in "".join(seen.warnings)


def test_mode_follows_the_command_unless_told():
    assert (
        mode_name("dev", {}), mode_name("serve", {}), mode_name("dev", {"STREAMWARD_ENV": "staging"}),
    ) == ("development", "production", "staging")  # fmt: skip
