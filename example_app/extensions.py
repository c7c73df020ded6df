"""The site's extensions, created here so that every other module can import them."""

from __future__ import annotations

from flask_login import LoginManager
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect
from sqlalchemy.orm import DeclarativeBase

from flask_bokeh import FlaskBokeh


class Base(DeclarativeBase):
    """Base class of the models."""


bokeh = FlaskBokeh()
csrf = CSRFProtect()
db = SQLAlchemy(model_class=Base)
login_manager = LoginManager()
