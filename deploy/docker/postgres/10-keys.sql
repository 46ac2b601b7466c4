-- The data keys live apart from the data: a database of their own, so that a backup of one is not a backup of the other.
CREATE DATABASE kvit_keys;
