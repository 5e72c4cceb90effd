"""For schemathesis: sends the slashes of a path as they are.

A parameter of OpenAPI is one segment, so that its slashes are encoded; here they separate, and encoded ones are refused.
"""

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    path = (case.path_parameters or {}).get("path")
    if not isinstance(path, str):
        return
    # What leads upwards would be taken out of the address before it is sent, and ask for something else.
    if all(segment.replace("%2E", ".") not in (".", "..") for segment in path.split("%2F")):
        case.path_parameters["path"] = path.replace("%2F", "/")
