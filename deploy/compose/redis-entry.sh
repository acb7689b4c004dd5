#!/bin/sh
# Redis for development in a container, as the embedded one is: users in a file, TLS for hosts with client certificates.
set -eu
umask 077
if [ ! -e /data/users.acl ]; then
    digest=$(printf %s "$PORTAL_PASSWORD" | sha256sum | cut -d' ' -f1)
    printf 'user default off resetkeys resetchannels -@all\nuser portal on #%s ~* &* +@all\n' "$digest" >/data/users.acl
fi
exec redis-server --port 6379 --dir /data --aclfile /data/users.acl --appendonly yes --save '' \
    --tls-port 8444 --tls-auth-clients yes --tls-ca-cert-file /pki/ca.pem \
    --tls-cert-file /pki/server.pem --tls-key-file /pki/server.key
