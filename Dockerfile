# opay in three stages.  The runtime stage holds the six modules, the sidecar
# and the provider simulator, with the runtime libraries only:
#
#   docker build -t opay .
#   docker run -v /etc/opay:/etc/opay:ro opay                    # nginx
#   docker run -v /etc/opay:/etc/opay:ro opay \
#       opay-sidecar -c /etc/opay/sidecar-order.conf
#
# /etc/opay/nginx.conf is one of conf/*.conf.in with its placeholders filled
# (./opay render shows how); certificates and secrets are mounted with it.

ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
WORKDIR /src
COPY tools/packages tools/packages
RUN apt-get update \
    && apt-get install -y --no-install-recommends nginx \
       $(awk '$1 == "build" { print $2 }' tools/packages) binutils \
    && rm -rf /var/lib/apt/lists/*
COPY . .
# ends by loading the six modules, in order, into the nginx of this stage
RUN tools/build.sh

FROM build AS test
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
       $(awk '$1 == "test" { print $2 }' tools/packages) \
    && rm -rf /var/lib/apt/lists/*
RUN tools/unit.sh

FROM ${BASE} AS runtime
RUN apt-get update \
    && apt-get install -y --no-install-recommends nginx ca-certificates \
       libmariadb3 libcurl4 libjansson4 libjwt0 libargon2-1 librdkafka1 \
       libmicrohttpd12 libsqlite3-0 \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o www-data -g www-data /var/lib/opay /run/opay
COPY --from=build /src/build/modules/*.so /usr/lib/nginx/modules/
COPY --from=build /src/build/bin/opay-sidecar /src/build/bin/pgsim /usr/bin/
COPY --from=build /src/conf /usr/share/opay/conf
COPY --from=build /src/db /usr/share/opay/db

# the nginx that runs must be the one that the modules were built for
RUN printf 'load_module /usr/lib/nginx/modules/ngx_opay_%s_module.so;\n' \
        core auth gateway user order payment > /tmp/t.conf \
    && echo 'pid /tmp/t.pid; events {}' >> /tmp/t.conf \
    && nginx -t -c /tmp/t.conf && rm /tmp/t.conf

USER www-data
STOPSIGNAL SIGQUIT
CMD ["nginx", "-p", "/var/lib/opay/", "-e", "stderr", \
     "-c", "/etc/opay/nginx.conf", "-g", "daemon off;"]
