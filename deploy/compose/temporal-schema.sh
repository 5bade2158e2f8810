#!/bin/sh
# Makes Temporal's two databases and brings their schema to the version of this image. Every step leaves alone what
# is there already, so that it runs at each start. SQL_PLUGIN, SQL_HOST, SQL_PORT, SQL_USER, SQL_PASSWORD say where.
set -eu

bring_up() {
    temporal-sql-tool --database "$1" create
    temporal-sql-tool --database "$1" setup-schema --version 0.0
    temporal-sql-tool --database "$1" update-schema --schema-name "postgresql/v12/$2"
}

bring_up temporal temporal
bring_up temporal_visibility visibility
