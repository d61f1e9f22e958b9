"""Puts the modules of the project within reach of the tests, and keeps the fast ones fast."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
