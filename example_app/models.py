"""The tables: users, the shape of their wave, and the items of their budget."""

from __future__ import annotations

from flask_login import UserMixin
from sqlalchemy import JSON, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship
from werkzeug.security import check_password_hash, generate_password_hash

from .extensions import db

__all__ = ("Item", "User")


class User(UserMixin, db.Model):
    """A person who can log in."""

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    favourite: Mapped[str]
    """A species of penguins."""
    wave: Mapped[dict[str, float]] = mapped_column(JSON)
    """Values of the sliders, by name."""
    items: Mapped[list[Item]] = relationship(order_by="Item.id", cascade="all, delete-orphan")

    def set_password(self, password: str, method: str = "scrypt") -> None:
        self.password_hash = generate_password_hash(password, method)

    def check_password(self, password: str) -> bool:
        return check_password_hash(self.password_hash, password)


class Item(db.Model):
    """A row of a user's budget."""

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)
    name: Mapped[str]
    amount: Mapped[float]
