"""An AWS on this machine: moto, strictness where moto is too kind, and function URLs that answer."""
