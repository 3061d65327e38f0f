"""Whether an adapter that was changed by hand still has all that is asked of it."""

from __future__ import annotations

import ast
from pathlib import Path

from airflow_src.install.sources import SOURCE


def names_of(module: Path) -> set[str]:
    """What a module defines or imports at its top."""
    found: set[str] = set()
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def names_asked_for() -> set[str]:
    """What our modules import of ``impl.host``, and of ``shared.yamlsettings``, which is the adapter in a host."""
    found = set()
    for path in [*(SOURCE / "dags").rglob("*.py"), *(SOURCE / "plugins/common").glob("*.py")]:
        if path.name == "host.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in {"impl.host", "shared.yamlsettings"}:
                found |= {alias.name for alias in node.names}
    return found


def missing_names(adapter: Path) -> list[str]:
    """Names that an adapter lacks."""
    return sorted(names_asked_for() - names_of(adapter))
