
/*
 * DESIGN
 *
 * upstream{ opay_discover <service>; }: a load balancer over the shared
 * table.  Each try picks from the table as it is at that moment and copies
 * address and name into the request's pool, so a list may be replaced under
 * running requests.  What became of a try is reported by instance id; an id
 * that is gone is ignored.
 *
 * "keepalive" after the directive wraps this balancer as it does nginx's own.
 */

#include "ngx_opay_discovery.h"
#include "ngx_opay_http.h"


#define NGX_OPAY_BALANCER_TRIES  16
#define NGX_OPAY_BALANCER_RETRY  2     /* s; a check passes or fails in that */


typedef struct {
    ngx_opay_peers_conf_t  *service;
    ngx_http_request_t     *request;
    uint64_t                current;       /* id of the try under way */
    ngx_uint_t              ntried;
    uint64_t                tried[NGX_OPAY_BALANCER_TRIES];
} ngx_opay_balancer_t;


typedef struct {
    ngx_str_t               name;
    ngx_sockaddr_t          sockaddr;
    char                    text[OPAY_PEER_TEXT];
} ngx_opay_balancer_addr_t;


static ngx_int_t ngx_opay_balancer_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_opay_balancer_init(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_opay_balancer_get(ngx_peer_connection_t *pc, void *data);
static void ngx_opay_balancer_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
static socklen_t ngx_opay_balancer_sockaddr(ngx_sockaddr_t *to,
    const opay_peer_t *peer);
#if (NGX_HTTP_SSL)
static ngx_int_t ngx_opay_balancer_set_session(ngx_peer_connection_t *pc,
    void *data);
static void ngx_opay_balancer_save_session(ngx_peer_connection_t *pc,
    void *data);
#endif


char *
ngx_opay_discover(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                          *rv;
    ngx_str_t                     *value;
    ngx_uint_t                     i;
    ngx_opay_peers_conf_t         *s;
    ngx_http_upstream_server_t    *server;
    ngx_http_upstream_srv_conf_t  *uscf;

    (void) cmd;
    (void) conf;

    uscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_upstream_module);

    if (uscf->peer.init_upstream == ngx_opay_balancer_init_upstream) {
        return "is duplicate";
    }

    if (uscf->peer.init_upstream) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_discover\" must come before \"keepalive\" "
                           "and excludes other balancers");
        return NGX_CONF_ERROR;
    }

    if (uscf->servers->nelts) {
        return "excludes \"server\": instances come from Consul, or from "
               "fallback=";
    }

    value = cf->args->elts;

    s = ngx_opay_discovery_add(cf, &value[1]);
    if (s == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        rv = ngx_opay_discovery_fallback(cf, s, &value[i]);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    /* an upstream{} without servers is refused; nobody asks this one */

    server = ngx_array_push(uscf->servers);
    if (server == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(server, sizeof(ngx_http_upstream_server_t));
    server->name = value[1];

    /* no flags: "server" in this block must not pass unnoticed */

    uscf->flags = 0;
    uscf->peer.init_upstream = ngx_opay_balancer_init_upstream;
    uscf->peer.data = s;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_opay_balancer_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us)
{
    (void) cf;

    if (us->servers->nelts != 1) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"opay_discover\" excludes \"server\" in upstream "
                      "\"%V\" in %s:%ui", &us->host, us->file_name, us->line);
        return NGX_ERROR;
    }

#if (NGX_HTTP_UPSTREAM_ZONE)

    /* it would read our data as round robin peers */

    if (us->shm_zone) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"opay_discover\" excludes \"zone\" in upstream "
                      "\"%V\" in %s:%ui", &us->host, us->file_name, us->line);
        return NGX_ERROR;
    }

#endif

    us->peer.init = ngx_opay_balancer_init;

    return NGX_OK;
}


static ngx_int_t
ngx_opay_balancer_init(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us)
{
    ngx_uint_t            n;
    ngx_http_upstream_t  *u;
    ngx_opay_balancer_t  *b;

    b = ngx_pcalloc(r->pool, sizeof(ngx_opay_balancer_t));
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->service = us->peer.data;
    b->request = r;

    u = r->upstream;

    u->peer.data = b;
    u->peer.get = ngx_opay_balancer_get;
    u->peer.free = ngx_opay_balancer_free;

    n = ngx_opay_peers_count(b->service);
    u->peer.tries = ngx_max(1, ngx_min(n, NGX_OPAY_BALANCER_TRIES));

#if (NGX_HTTP_SSL)
    u->peer.set_session = ngx_opay_balancer_set_session;
    u->peer.save_session = ngx_opay_balancer_save_session;
#endif

    return NGX_OK;
}


static ngx_int_t
ngx_opay_balancer_get(ngx_peer_connection_t *pc, void *data)
{
    ngx_opay_balancer_t  *b = data;

    opay_peer_t                peer;
    ngx_opay_balancer_addr_t  *addr;

    pc->cached = 0;
    pc->connection = NULL;

    if (ngx_opay_peers_pick(b->service, b->tried, b->ntried, &peer)
        != NGX_OK)
    {
        pc->name = &b->service->name;

        (void) ngx_opay_problem_retry(b->request, OPAY_E_UPSTREAM_UNAVAILABLE,
                                      "No instance of the service can be "
                                      "reached.", NGX_OPAY_BALANCER_RETRY);
        return NGX_BUSY;
    }

    addr = ngx_palloc(b->request->pool, sizeof(ngx_opay_balancer_addr_t));
    if (addr == NULL) {
        return NGX_ERROR;
    }

    pc->socklen = ngx_opay_balancer_sockaddr(&addr->sockaddr, &peer);
    pc->sockaddr = &addr->sockaddr.sockaddr;

    addr->name.len = opay_peer_format(&peer, addr->text);
    addr->name.data = (u_char *) addr->text;
    pc->name = &addr->name;

    b->current = peer.id;

    return NGX_OK;
}


static void
ngx_opay_balancer_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_opay_balancer_t  *b = data;

    ngx_uint_t  answered, stale;

    answered = (b->request->upstream->headers_in.status_n != 0);

    /*
     * A kept connection that the instance had closed says nothing about the
     * instance, and nginx will try once more: perhaps there is no other.
     */

    stale = pc->cached && !answered
            && !(pc->connection && pc->connection->read->timedout);

    if (state & (NGX_PEER_FAILED|NGX_PEER_NEXT)) {

        if (!stale && b->ntried < NGX_OPAY_BALANCER_TRIES) {
            b->tried[b->ntried++] = b->current;
        }

        if (!stale && (state & NGX_PEER_FAILED)) {
            ngx_opay_peers_report(b->service, b->current, 0);
        }

    } else if (answered) {
        ngx_opay_peers_report(b->service, b->current, 1);
    }

    if (pc->tries) {
        pc->tries--;
    }
}


static socklen_t
ngx_opay_balancer_sockaddr(ngx_sockaddr_t *to, const opay_peer_t *peer)
{
    ngx_memzero(to, sizeof(ngx_sockaddr_t));

#if (NGX_HAVE_INET6)

    if (peer->family == 6) {
        to->sockaddr_in6.sin6_family = AF_INET6;
        to->sockaddr_in6.sin6_port = htons(peer->port);
        ngx_memcpy(&to->sockaddr_in6.sin6_addr, peer->addr, 16);

        return sizeof(struct sockaddr_in6);
    }

#endif

    to->sockaddr_in.sin_family = AF_INET;
    to->sockaddr_in.sin_port = htons(peer->port);
    ngx_memcpy(&to->sockaddr_in.sin_addr, peer->addr, 4);

    return sizeof(struct sockaddr_in);
}


#if (NGX_HTTP_SSL)

/*
 * nginx calls both unchecked.  Sessions are not kept: connections are, and a
 * session must never be offered to another instance than its own.
 */

static ngx_int_t
ngx_opay_balancer_set_session(ngx_peer_connection_t *pc, void *data)
{
    (void) pc;
    (void) data;

    return NGX_OK;
}


static void
ngx_opay_balancer_save_session(ngx_peer_connection_t *pc, void *data)
{
    (void) pc;
    (void) data;
}

#endif
