#!/bin/sh
# Installs the peers of the delivery benchmark that make bench cannot: Debian's centrifuge and Node's ws. As root.
set -eu
apt-get install -y nodejs npm golang-go golang-github-centrifugal-centrifuge-dev golang-github-centrifugal-protocol-dev \
	golang-github-fzambia-eagle-dev golang-github-igm-sockjs-go-dev golang-github-mna-redisc-dev
cd "$(dirname "$0")/.."
npm install --no-save --no-audit --no-fund ws
