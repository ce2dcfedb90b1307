
/*
 * The watch of one service: a blocking query that is asked again and again.
 * See ngx_opay_consul.c.
 */

#include "ngx_opay_consul.h"


#define NGX_OPAY_WATCH_WAIT      55           /* s, asked of Consul */
#define NGX_OPAY_WATCH_TIMEOUT   64000        /* wait * 17/16 and 5 s */
#define NGX_OPAY_WATCH_FULL      300000       /* whole list now and then */
#define NGX_OPAY_WATCH_BURST     10           /* queries at once, then */
#define NGX_OPAY_WATCH_PACE      250          /* one in so many ms */
#define NGX_OPAY_WATCH_BACKOFF   30000


static void ngx_opay_watch_timer(ngx_event_t *ev);
static void ngx_opay_watch_expiry(ngx_event_t *ev);
static ngx_msec_t ngx_opay_watch_pace(ngx_opay_watch_t *w);
static void ngx_opay_watch_query(ngx_opay_watch_t *w);
static void ngx_opay_watch_header(ngx_opay_http_t *h, const char *name,
    size_t nlen, const char *value, size_t vlen);
static void ngx_opay_watch_done(ngx_opay_http_t *h);
static void ngx_opay_watch_apply(ngx_opay_watch_t *w,
    const opay_peers_t *fresh, ngx_uint_t clean);
static void ngx_opay_watch_publish(ngx_opay_watch_t *w, ngx_uint_t flags);


void
ngx_opay_watch_start(ngx_opay_consul_t *oc, ngx_opay_watch_t *w,
    ngx_opay_peers_conf_t *s)
{
    w->consul = oc;
    w->service = s;
    w->tokens = NGX_OPAY_WATCH_BURST;
    w->refilled = ngx_current_msec;
    w->source = ngx_opay_peers_get(s, &w->use);

    w->ask.h.done = ngx_opay_watch_done;
    w->ask.h.header = ngx_opay_watch_header;
    w->ask.h.background = 1;
    w->ask.h.data = w;

    ngx_opay_consul_timer(oc, &w->timer, ngx_opay_watch_timer);
    ngx_opay_consul_timer(oc, &w->expiry, ngx_opay_watch_expiry);

    /* suspects of the worker before this one */
    ngx_add_timer(&w->expiry, 1);

    ngx_opay_watch_query(w);
}


static void
ngx_opay_watch_timer(ngx_event_t *ev)
{
    ngx_opay_watch_query(ngx_opay_container(ev, ngx_opay_watch_t, timer));
}


static void
ngx_opay_watch_expiry(ngx_event_t *ev)
{
    int64_t            next, now;
    unsigned           flags;
    ngx_opay_watch_t  *w;

    w = ngx_opay_container(ev, ngx_opay_watch_t, expiry);

    if (ngx_opay_consul_is_over(w->consul)) {
        return;
    }

    now = opay_now_ms();

    if (w->source == NGX_OPAY_PEERS_CONSUL) {
        flags = opay_peers_expire(&w->use, now);

        if (flags & OPAY_PEERS_CHANGED) {
            ngx_opay_watch_publish(w, flags);
        }
    }

    next = opay_peers_next_expiry(&w->use);

    if (next) {
        ngx_add_timer(ev, (ngx_msec_t) ngx_max(next - now, 1));
    }
}


/* Milliseconds until the next query may go out. */

static ngx_msec_t
ngx_opay_watch_pace(ngx_opay_watch_t *w)
{
    ngx_uint_t  n;

    n = (ngx_current_msec - w->refilled) / NGX_OPAY_WATCH_PACE;

    if (n) {
        w->refilled += n * NGX_OPAY_WATCH_PACE;
        w->tokens = ngx_min(w->tokens + n, NGX_OPAY_WATCH_BURST);
    }

    if (w->tokens) {
        w->tokens--;
        return 0;
    }

    return NGX_OPAY_WATCH_PACE;
}


static void
ngx_opay_watch_query(ngx_opay_watch_t *w)
{
    u_char      *p, *last;
    ngx_msec_t   wait;

    if (ngx_opay_consul_is_over(w->consul)) {
        return;
    }

    wait = ngx_opay_watch_pace(w);

    if (wait) {
        ngx_add_timer(&w->timer, wait);
        return;
    }

    /* a wake-up may have been missed */

    if (w->index && ngx_current_msec - w->full > NGX_OPAY_WATCH_FULL) {
        w->index = 0;
    }

    if (w->index == 0) {
        w->full = ngx_current_msec;
    }

    w->next = 0;
    w->indexed = 0;
    w->leader = 0;
    w->filtered = 0;

    p = (u_char *) w->ask.url;
    last = p + sizeof(w->ask.url) - 1;

    p = ngx_slprintf(p, last, "%V/v1/health/service/%V",
                     &w->consul->dcf->consul, &w->service->name);

    if (w->index) {
        p = ngx_slprintf(p, last, "?index=%uL&wait=%ds", w->index,
                         NGX_OPAY_WATCH_WAIT);
    }

    *p = '\0';

    if (ngx_opay_consul_ask(w->consul, &w->ask, "GET", NULL,
                            w->index ? NGX_OPAY_WATCH_TIMEOUT
                                     : NGX_OPAY_CONSUL_TIMEOUT)
        != NGX_OK)
    {
        ngx_add_timer(&w->timer, NGX_OPAY_CONSUL_TIMEOUT);
    }
}


static void
ngx_opay_watch_header(ngx_opay_http_t *h, const char *name, size_t nlen,
    const char *value, size_t vlen)
{
    ngx_opay_watch_t  *w = h->data;

#define ngx_opay_watch_is(s)                                                 \
    (nlen == sizeof(s) - 1                                                   \
     && ngx_strncasecmp((u_char *) name, (u_char *) s, sizeof(s) - 1) == 0)

    if (ngx_opay_watch_is("X-Consul-Index")) {
        w->next = opay_consul_next_index(w->index, value, vlen);
        w->indexed = 1;

    } else if (ngx_opay_watch_is("X-Consul-KnownLeader")) {
        w->leader = (vlen == 4 && ngx_strncmp(value, "true", 4) == 0);

    } else if (ngx_opay_watch_is("X-Consul-Results-Filtered-By-ACLs")) {
        w->filtered = (vlen == 4 && ngx_strncmp(value, "true", 4) == 0);
    }
}


static void
ngx_opay_watch_done(ngx_opay_http_t *h)
{
    ngx_opay_watch_t  *w = h->data;

    ngx_uint_t         ok, clean;
    opay_peers_t       fresh;

    ok = h->outcome == NGX_OPAY_HTTP_ANSWERED && h->status == NGX_HTTP_OK
         && opay_consul_parse_health(&fresh, h->reply.data, h->reply.len)
            == OPAY_OK;

    ngx_opay_consul_heard(w->consul, h, ok);
    ngx_opay_consul_answered(&w->ask);

    if (ngx_opay_consul_is_over(w->consul)) {
        return;
    }

    if (!ok) {
        w->index = 0;
        ngx_add_timer(&w->timer, ngx_opay_consul_backoff(w->failures++,
                                                   NGX_OPAY_WATCH_BACKOFF));
        return;
    }

    if (!w->indexed) {
        w->next = 1;
    }

    clean = w->indexed && w->index && w->next >= w->index && w->leader
            && !w->filtered;

    w->failures = 0;
    w->index = w->next;

    ngx_opay_watch_apply(w, &fresh, clean);

    ngx_opay_watch_query(w);
}


static void
ngx_opay_watch_apply(ngx_opay_watch_t *w, const opay_peers_t *fresh,
    ngx_uint_t clean)
{
    int64_t    now, next;
    unsigned   flags;

    now = opay_now_ms();

    w->service->sh->heard = now;

    if (fresh->malformed || fresh->dropped) {
        w->service->sh->malformed += fresh->malformed + fresh->dropped;
        ngx_log_error(NGX_LOG_WARN, w->consul->log, 0,
                      "opay: %ud entries of \"%V\" in Consul's answer cannot "
                      "be used", fresh->malformed + fresh->dropped,
                      &w->service->name);
    }

    if (w->source <= NGX_OPAY_PEERS_FALLBACK) {

        /* the fallback serves until an instance has been seen */

        if (fresh->n == 0) {
            return;
        }

        w->use.n = 0;
    }

    flags = opay_peers_merge(&w->use, fresh, clean, now);

    if ((flags & OPAY_PEERS_CHANGED) || w->source != NGX_OPAY_PEERS_CONSUL) {
        w->source = NGX_OPAY_PEERS_CONSUL;
        ngx_opay_watch_publish(w, flags);

        /* an empty list is no help at the next start */

        if (w->use.n) {
            ngx_opay_peers_dump(&w->consul->dcf->state_dir, w->service,
                                &w->use, w->consul->log);
        }
    }

    next = opay_peers_next_expiry(&w->use);

    if (next) {
        ngx_add_timer(&w->expiry, (ngx_msec_t) ngx_max(next - now, 1));
    }
}


static void
ngx_opay_watch_publish(ngx_opay_watch_t *w, ngx_uint_t flags)
{
    ngx_uint_t  i, usable;

    ngx_opay_peers_publish(w->service, &w->use, w->source);
    w->service->sh->flags = flags;

    usable = 0;

    for (i = 0; i < w->use.n; i++) {
        if (opay_peer_weight(&w->use.peers[i], 0)) {
            usable++;
        }
    }

    ngx_log_error(NGX_LOG_NOTICE, w->consul->log, 0,
                  "opay: \"%V\" has %ud instances, %ui healthy%s%s",
                  &w->service->name, w->use.n, usable,
                  (flags & OPAY_PEERS_PANIC) ? ", all are used" : "",
                  (flags & (OPAY_PEERS_HELD|OPAY_PEERS_KEPT))
                  ? ", some vanished and are kept for a while" : "");
}
