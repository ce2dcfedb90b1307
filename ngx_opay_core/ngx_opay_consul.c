
/*
 * DESIGN
 *
 * Worker 0's talk with the Consul agent: one blocking query per watched
 * service, and the registrations of this instance.  Event loop only; state
 * lives in the worker from init_process() to exit_process().
 *
 * Watch.  An answer is no proof of change: lists are compared, by the rules
 * of lib/opay_peers.  Any trouble (no answer, 5xx, an index that goes back)
 * starts over with index 0, keeps the list in use, and makes the next answer
 * an unclean one.
 *
 * Registration.  Put at start; looked after every 10 s, for an agent that was
 * restarted has forgotten it.  Who must leave the agent's books is decided in
 * shared memory: a reload raises the generation before the old worker is told
 * to go, so it deregisters only what the new configuration has no more.
 *
 * Leaving.  An idle fake connection is how nginx tells a worker at once that
 * it must go.  Deregistering then takes at most a second, which its transfer
 * holds the worker for.  A fast stop comes by exit_process() alone and has to
 * block there, for a second at most.
 *
 * All timers are cancelable: none of this may hold a worker otherwise.
 */

#include "ngx_opay_consul.h"


#define NGX_OPAY_CONSUL_CONNECT  1000
#define NGX_OPAY_CONSUL_REPLY    (4 * 1024 * 1024)
#define NGX_OPAY_BACKOFF         250


static ngx_int_t ngx_opay_consul_idle(ngx_opay_consul_t *oc);
static void ngx_opay_consul_leave(ngx_event_t *ev);
static void ngx_opay_consul_cancel(ngx_opay_ask_t *ask, ngx_event_t *timer);
static void ngx_opay_consul_token(ngx_opay_consul_t *oc, ngx_opay_ask_t *ask);


/* of worker 0; NULL elsewhere */
static ngx_opay_consul_t  *ngx_opay_consul;


ngx_int_t
ngx_opay_consul_start(ngx_cycle_t *cycle, ngx_opay_discovery_conf_t *dcf)
{
    ngx_uint_t               i;
    ngx_opay_consul_t       *oc;
    ngx_opay_peers_conf_t  **s;

    oc = ngx_pcalloc(cycle->pool, sizeof(ngx_opay_consul_t));
    if (oc == NULL) {
        return NGX_ERROR;
    }

    oc->dcf = dcf;
    oc->log = cycle->log;
    oc->dummy.fd = (ngx_socket_t) -1;

    oc->watches = ngx_pcalloc(cycle->pool, sizeof(ngx_opay_watch_t)
                                           * (dcf->services.nelts + 1));
    oc->registrations = ngx_pcalloc(cycle->pool,
                                    sizeof(ngx_opay_registration_t)
                                    * (dcf->registers.nelts + 1));
    if (oc->watches == NULL || oc->registrations == NULL
        || ngx_opay_consul_idle(oc) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_opay_consul = oc;

    s = dcf->services.elts;

    for (i = 0; i < dcf->services.nelts; i++) {
        ngx_opay_watch_start(oc, &oc->watches[i], s[i]);
    }

    for (i = 0; i < dcf->registers.nelts; i++) {
        if (ngx_opay_registration_start(oc, &oc->registrations[i], i)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * nginx calls the read handler of idle connections when a worker must go.
 * This one has no descriptor: -2 keeps it from looking free.
 */

static ngx_int_t
ngx_opay_consul_idle(ngx_opay_consul_t *oc)
{
    ngx_connection_t  *c, *stdin_c;

    stdin_c = ngx_cycle->files ? ngx_cycle->files[0] : NULL;

    c = ngx_get_connection(0, oc->log);

    if (ngx_cycle->files) {
        ngx_cycle->files[0] = stdin_c;
    }

    if (c == NULL) {
        return NGX_ERROR;
    }

    c->fd = (ngx_socket_t) -2;
    c->idle = 1;
    c->data = oc;
    c->read->handler = ngx_opay_consul_leave;
    c->read->log = oc->log;
    c->write->handler = ngx_opay_consul_leave;
    c->write->log = oc->log;

    oc->idle = c;

    return NGX_OK;
}


static void
ngx_opay_consul_leave(ngx_event_t *ev)
{
    ngx_uint_t                i;
    ngx_connection_t         *c;
    ngx_opay_consul_t        *oc;
    ngx_opay_registration_t  *rg;

    c = ev->data;
    oc = c->data;

    if (oc->idle == NULL || !(ngx_exiting || ngx_quit || ngx_terminate)) {
        return;
    }

    /* the slot goes with the process; it only must not look open */

    c->idle = 0;
    c->fd = (ngx_socket_t) -1;
    oc->idle = NULL;

    for (i = 0; i < oc->dcf->services.nelts; i++) {
        ngx_opay_consul_cancel(&oc->watches[i].ask, &oc->watches[i].timer);
    }

    for (i = 0; i < oc->dcf->registers.nelts; i++) {
        rg = &oc->registrations[i];

        ngx_opay_consul_cancel(&rg->ask, &rg->timer);

        if (ngx_opay_registration_is_over(rg)) {
            (void) ngx_opay_registration_leave(rg, 0);
        }
    }
}


/* exit_process() */

void
ngx_opay_consul_stop(ngx_cycle_t *cycle)
{
    ngx_uint_t                i;
    ngx_opay_consul_t        *oc;
    ngx_opay_registration_t  *rg;

    (void) cycle;

    oc = ngx_opay_consul;

    if (oc == NULL) {
        return;
    }

    ngx_opay_consul = NULL;

    if (oc->idle) {
        oc->idle->idle = 0;
        oc->idle->fd = (ngx_socket_t) -1;
        oc->idle = NULL;
    }

    for (i = 0; i < oc->dcf->registers.nelts; i++) {
        rg = &oc->registrations[i];

        ngx_opay_consul_cancel(&rg->ask, &rg->timer);

        if (rg->left || !ngx_opay_registration_is_over(rg)) {
            continue;
        }

        /* an agent that does not answer is not asked twice */

        if (ngx_opay_registration_leave(rg, 1) != NGX_OK) {
            break;
        }
    }
}


void
ngx_opay_consul_timer(ngx_opay_consul_t *oc, ngx_event_t *ev,
    ngx_event_handler_pt handler)
{
    ev->handler = handler;
    ev->data = &oc->dummy;
    ev->log = oc->log;
    ev->cancelable = 1;
}


static void
ngx_opay_consul_cancel(ngx_opay_ask_t *ask, ngx_event_t *timer)
{
    if (ask->h.priv) {
        ngx_opay_http_cancel(&ask->h);
        ngx_opay_consul_answered(ask);
    }

    if (timer->timer_set) {
        ngx_del_timer(timer);
    }
}


ngx_uint_t
ngx_opay_consul_is_over(ngx_opay_consul_t *oc)
{
    return ngx_exiting || ngx_quit || ngx_terminate
           || oc->dcf->sh->generation != oc->dcf->generation;
}


ngx_msec_t
ngx_opay_consul_backoff(ngx_uint_t failures, ngx_msec_t max)
{
    ngx_msec_t  ms;

    ms = (ngx_msec_t) NGX_OPAY_BACKOFF << ngx_min(failures, 8);
    ms = ngx_min(ms, max);

    return 50 + (ngx_msec_t) ngx_random() % ms;
}


void
ngx_opay_consul_heard(ngx_opay_consul_t *oc, ngx_opay_http_t *h,
    ngx_uint_t ok)
{
    oc->dcf->sh->up = ok;

    if (!ok) {
        oc->dcf->sh->errors++;
    }

    if (ok && oc->down) {
        ngx_log_error(NGX_LOG_NOTICE, oc->log, 0,
                      "opay: Consul answers again");

    } else if (!ok && !oc->down) {
        ngx_log_error(NGX_LOG_WARN, oc->log, 0,
                      "opay: Consul at \"%V\" does not answer well "
                      "(%s, status %ui); what was known stays in use",
                      &oc->dcf->consul, h->error ? h->error : "answered",
                      h->status);
    }

    oc->down = !ok;
}


ngx_int_t
ngx_opay_consul_prepare(ngx_opay_consul_t *oc, ngx_opay_ask_t *ask,
    const char *method, const char *body, ngx_msec_t timeout)
{
    ngx_uint_t        n;
    ngx_opay_http_t  *h;

    h = &ask->h;

    h->arena = opay_arena_create(4096);
    if (h->arena == NULL) {
        return NGX_ERROR;
    }

    h->method = method;
    h->url = ask->url;
    h->headers = ask->headers;
    h->body.data = body;
    h->body.len = body ? ngx_strlen(body) : 0;
    h->connect_timeout = NGX_OPAY_CONSUL_CONNECT;
    h->timeout = timeout;
    h->reply_max = NGX_OPAY_CONSUL_REPLY;

    n = 0;

    ngx_opay_consul_token(oc, ask);

    if (ask->token[0]) {
        ask->headers[n++] = ask->token;
    }

    if (body) {
        ask->headers[n++] = "Content-Type: application/json";
    }

    ask->headers[n] = NULL;

    return NGX_OK;
}


ngx_int_t
ngx_opay_consul_ask(ngx_opay_consul_t *oc, ngx_opay_ask_t *ask,
    const char *method, const char *body, ngx_msec_t timeout)
{
    if (ngx_opay_consul_prepare(oc, ask, method, body, timeout) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_opay_http_send(&ask->h) != NGX_OK) {
        ngx_opay_consul_answered(ask);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* Read anew each time: tokens are rotated.  Never logged. */

static void
ngx_opay_consul_token(ngx_opay_consul_t *oc, ngx_opay_ask_t *ask)
{
    u_char     *p, *last;
    ssize_t     n;
    ngx_fd_t    fd;
    ngx_str_t  *file;

    static const u_char  name[] = "X-Consul-Token: ";

    ask->token[0] = '\0';
    file = &oc->dcf->token_file;

    if (file->len == 0) {
        return;
    }

    fd = ngx_open_file(file->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_ERR, oc->log, ngx_errno,
                      "opay: cannot read the Consul token \"%V\"", file);
        return;
    }

    p = ngx_cpymem(ask->token, name, sizeof(name) - 1);
    last = (u_char *) ask->token + NGX_OPAY_TOKEN_MAX - 1;

    n = ngx_read_fd(fd, p, last - p);
    (void) ngx_close_file(fd);

    for (last = p; n > 0 && *last > ' ' && *last < 0x7f; n--) {
        last++;
    }

    if (last == p) {
        ask->token[0] = '\0';
        return;
    }

    *last = '\0';
}


void
ngx_opay_consul_answered(ngx_opay_ask_t *ask)
{
    opay_arena_destroy(ask->h.arena);
    ask->h.arena = NULL;
}
