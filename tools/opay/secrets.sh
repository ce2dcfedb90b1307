#!/bin/bash
#
# Generates what is secret, once: files of mode 0600 without a newline at
# the end.  Then the CA and one leaf certificate per process; a leaf that
# runs out within 30 days is issued again.

. "$(dirname "$0")/lib.sh"

umask 077
mkdir -p "$SECRETS/jwt" "$TLS"
chmod 700 "$SECRETS" "$SECRETS/jwt" "$TLS"

# once FILE COMMAND...: whole or not at all
once() {
    local file=$1
    shift

    [ -s "$file" ] && return
    "$@" | tr -d '\n' > "$file.new"
    mv "$file.new" "$file"
}

test_key() { echo "test_sk_$(hex 16)"; }
password() { openssl rand -base64 18 | tr '+/' '-_'; }

for name in $services; do
    once "$SECRETS/db_$name" hex 16
    once "$SECRETS/db_${name}_relay" hex 16
done

for name in refresh pepper cursor; do
    once "$SECRETS/$name.key" hex 32
done

once "$SECRETS/pgsim.key" test_key
once "$SECRETS/admin_password" password


# Token signing: ES256; the key id is its RFC 7638 thumbprint.

b64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

jwk_of() {
    local point x y kid

    point=$(openssl pkey -in "$1" -pubout -outform DER | tail -c 64 \
            | od -An -v -tx1 | tr -d ' \n')
    x=$(printf '%b' "$(sed 's/../\\x&/g' <<< "${point:0:64}")" | b64url)
    y=$(printf '%b' "$(sed 's/../\\x&/g' <<< "${point:64}")" | b64url)
    kid=$(printf '{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}' "$x" "$y" \
          | openssl dgst -sha256 -binary | b64url)
    printf '{"kty":"EC","crv":"P-256","use":"sig","alg":"ES256",'
    printf '"kid":"%s","x":"%s","y":"%s"}' "$kid" "$x" "$y"
}

make_jwt_key() {
    local tmp=$SECRETS/jwt/.new.pem kid

    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$tmp"
    kid=$(jwk_of "$tmp" | jq -r .kid)
    mv "$tmp" "$SECRETS/jwt/$kid.pem"
    printf %s "$kid" > "$SECRETS/jwt/current"
}

if [ ! -s "$SECRETS/jwt/current" ]; then
    make_jwt_key
    rm -f "$SECRETS/jwt/jwks.json"
fi

if [ ! -s "$SECRETS/jwt/jwks.json" ]; then
    for pem in "$SECRETS"/jwt/*.pem; do
        jwk_of "$pem"
        echo
    done | jq -cs '{keys: .}' > "$SECRETS/jwt/jwks.json.new"
    mv "$SECRETS/jwt/jwks.json.new" "$SECRETS/jwt/jwks.json"
fi


# TLS between the processes.

make_key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"
}

if [ ! -s "$TLS/ca.pem" ] || [ ! -s "$TLS/ca.key" ]; then
    rm -f "$TLS"/*.pem
    make_key "$TLS/ca.key"
    openssl req -x509 -new -key "$TLS/ca.key" -days 3650 -sha256 \
        -subj "/O=opay/CN=opay mesh CA" \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -out "$TLS/ca.pem.new"
    mv "$TLS/ca.pem.new" "$TLS/ca.pem"
fi

leaf() {
    local name=$1

    if [ -s "$TLS/$name.pem" ] && [ -s "$TLS/$name.key" ] \
       && openssl x509 -in "$TLS/$name.pem" -noout -checkend 2592000 \
          > /dev/null
    then
        return
    fi

    make_key "$TLS/$name.key"
    openssl req -new -key "$TLS/$name.key" -subj "/O=opay/CN=$name" \
        -out "$TLS/$name.csr"
    openssl x509 -req -in "$TLS/$name.csr" -CA "$TLS/ca.pem" \
        -CAkey "$TLS/ca.key" -set_serial "0x$(hex 16)" -days 397 -sha256 \
        -extfile <(cat <<END
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectAltName=DNS:$name.opay.internal,URI:spiffe://opay/$name
END
        ) -out "$TLS/$name.pem.new" 2> "$TLS/$name.err" \
        || { cat "$TLS/$name.err" >&2; return 1; }
    rm -f "$TLS/$name.csr" "$TLS/$name.err"
    mv "$TLS/$name.pem.new" "$TLS/$name.pem"
}

for name in gateway $services; do
    leaf "$name"
done

for name in $services; do
    leaf "sidecar-$name"
done
