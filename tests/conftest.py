"""Puts the modules of the project within reach of the tests, and keeps the fast ones fast."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# As if the user had chosen: scripts called in this process come after TensorFlow was imported.
os.environ.setdefault("DML_VISIBLE_DEVICES", "0")
