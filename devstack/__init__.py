"""The development stack: stand-ins for all that Sluice talks to. Never bundled."""
