#!/bin/sh
# Runs once, when the volume is new: two databases, each with an owner that can do nothing outside it.
set -eu
psql --username "$POSTGRES_USER" --dbname postgres --set ON_ERROR_STOP=1 \
  --set app_password="$APP_PASSWORD" --set svix_password="$SVIX_DB_PASSWORD" <<'SQL'
CREATE ROLE pinksync LOGIN PASSWORD :'app_password';
CREATE DATABASE pinksync OWNER pinksync;
CREATE ROLE svix LOGIN PASSWORD :'svix_password';
CREATE DATABASE svix OWNER svix;
SQL
