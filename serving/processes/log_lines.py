"""The log of the service's processes: BentoML configures it for itself, and its lines are as the settings say too."""

from __future__ import annotations

import logging

from bentoml._internal import log as bentoml_log

from core.logs.lines import Format, JsonLines, TextLines, log_as_json

_SERVER = "traced"  # BentoML's name of the format of a server's lines


def write_log_lines(format_: Format) -> None:
    """Have this process log as the settings say, whether BentoML has configured its log already or will.

    Args:
        format_: `logs.format`.
    """
    formats = bentoml_log.SERVER_LOGGING_CONFIG["formatters"]
    if format_ == "json":
        formats[_SERVER] = {"()": JsonLines}
        for name in bentoml_log.CLI_LOGGING_CONFIG["formatters"]:
            bentoml_log.CLI_LOGGING_CONFIG["formatters"][name] = {"()": JsonLines}
        log_as_json()
        return
    formats[_SERVER] = {
        "class": f"{TextLines.__module__}.{TextLines.__qualname__}",
        "format": bentoml_log.TRACED_LOG_FORMAT,
        "datefmt": bentoml_log.DATE_FORMAT,
    }
    for handler in logging.getLogger().handlers:
        if handler.formatter is not None and handler.formatter._fmt == bentoml_log.TRACED_LOG_FORMAT:
            handler.setFormatter(TextLines(bentoml_log.TRACED_LOG_FORMAT, bentoml_log.DATE_FORMAT))
