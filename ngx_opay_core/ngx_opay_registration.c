
/* One registration of this instance: see ngx_opay_consul.c. */

#include "ngx_opay_consul.h"


#define NGX_OPAY_REGISTRATION_PRESENCE  10000
#define NGX_OPAY_REGISTRATION_BACKOFF   5000
#define NGX_OPAY_REGISTRATION_BYE       1000


static void ngx_opay_registration_timer(ngx_event_t *ev);
static void ngx_opay_registration_get_done(ngx_opay_http_t *h);
static void ngx_opay_registration_put(ngx_opay_registration_t *rg);
static void ngx_opay_registration_put_done(ngx_opay_http_t *h);
static void ngx_opay_registration_again(ngx_opay_registration_t *rg);
static void ngx_opay_registration_set(ngx_opay_registration_t *rg,
    ngx_uint_t present);
static void ngx_opay_registration_leave_done(ngx_opay_http_t *h);


ngx_int_t
ngx_opay_registration_start(ngx_opay_consul_t *oc,
    ngx_opay_registration_t *rg, ngx_uint_t n)
{
    opay_consul_service_t   s;
    ngx_opay_register_t    *reg;

    reg = oc->dcf->registers.elts;
    reg += n;

    rg->consul = oc;
    rg->reg = reg;
    rg->n = n;

    s.id = (char *) reg->id.data;
    s.name = (char *) reg->name.data;
    s.address = (char *) reg->address.data;
    s.port = reg->port;
    s.check = (char *) reg->check.data;
    s.interval = reg->interval;

    rg->body = opay_consul_register_json(&s);
    if (rg->body == NULL) {
        ngx_log_error(NGX_LOG_EMERG, oc->log, 0,
                      "opay: cannot register \"%V\"", &reg->id);
        return NGX_ERROR;
    }

    rg->ask.h.background = 1;
    rg->ask.h.data = rg;

    ngx_opay_consul_timer(oc, &rg->timer, ngx_opay_registration_timer);

    ngx_opay_registration_put(rg);

    return NGX_OK;
}


/* Present, as far as we know: look.  Absent: register. */

static void
ngx_opay_registration_timer(ngx_event_t *ev)
{
    ngx_opay_consul_t        *oc;
    ngx_opay_registration_t  *rg;

    rg = ngx_opay_container(ev, ngx_opay_registration_t, timer);
    oc = rg->consul;

    if (!rg->present) {
        ngx_opay_registration_put(rg);
        return;
    }

    if (ngx_opay_consul_is_over(oc)) {
        return;
    }

    ngx_snprintf((u_char *) rg->ask.url, sizeof(rg->ask.url),
                 "%V/v1/agent/service/%V%Z", &oc->dcf->consul, &rg->reg->id);

    rg->ask.h.done = ngx_opay_registration_get_done;

    if (ngx_opay_consul_ask(oc, &rg->ask, "GET", NULL,
                            NGX_OPAY_CONSUL_TIMEOUT)
        != NGX_OK)
    {
        ngx_opay_registration_again(rg);
    }
}


static void
ngx_opay_registration_get_done(ngx_opay_http_t *h)
{
    ngx_uint_t                ok;
    ngx_opay_registration_t  *rg = h->data;

    ok = h->outcome == NGX_OPAY_HTTP_ANSWERED
         && (h->status == NGX_HTTP_OK || h->status == NGX_HTTP_NOT_FOUND);

    ngx_opay_consul_heard(rg->consul, h, ok);
    ngx_opay_consul_answered(&rg->ask);

    if (ok && h->status == NGX_HTTP_NOT_FOUND) {
        ngx_log_error(NGX_LOG_WARN, rg->consul->log, 0,
                      "opay: Consul has forgotten \"%V\", registering again",
                      &rg->reg->id);
        ngx_opay_registration_set(rg, 0);
        ngx_opay_registration_put(rg);
        return;
    }

    if (!ok) {
        ngx_opay_registration_again(rg);
        return;
    }

    rg->failures = 0;
    ngx_opay_registration_set(rg, 1);
    ngx_add_timer(&rg->timer, NGX_OPAY_REGISTRATION_PRESENCE);
}


static void
ngx_opay_registration_put(ngx_opay_registration_t *rg)
{
    ngx_opay_consul_t  *oc;

    oc = rg->consul;

    if (ngx_opay_consul_is_over(oc)) {
        return;
    }

    ngx_snprintf((u_char *) rg->ask.url, sizeof(rg->ask.url),
                 "%V/v1/agent/service/register?replace-existing-checks=true"
                 "%Z", &oc->dcf->consul);

    rg->ask.h.done = ngx_opay_registration_put_done;

    if (ngx_opay_consul_ask(oc, &rg->ask, "PUT", rg->body,
                            NGX_OPAY_CONSUL_TIMEOUT)
        != NGX_OK)
    {
        ngx_opay_registration_again(rg);
    }
}


static void
ngx_opay_registration_put_done(ngx_opay_http_t *h)
{
    ngx_uint_t                ok;
    ngx_opay_registration_t  *rg = h->data;

    ok = h->outcome == NGX_OPAY_HTTP_ANSWERED && h->status == NGX_HTTP_OK;

    ngx_opay_consul_heard(rg->consul, h, ok);
    ngx_opay_consul_answered(&rg->ask);

    if (!ok) {
        ngx_opay_registration_again(rg);
        return;
    }

    rg->failures = 0;

    if (!rg->present) {
        ngx_log_error(NGX_LOG_NOTICE, rg->consul->log, 0,
                      "opay: registered \"%V\" with Consul", &rg->reg->id);
    }

    ngx_opay_registration_set(rg, 1);
    ngx_add_timer(&rg->timer, NGX_OPAY_REGISTRATION_PRESENCE);
}


static void
ngx_opay_registration_again(ngx_opay_registration_t *rg)
{
    if (ngx_opay_consul_is_over(rg->consul)) {
        return;
    }

    ngx_add_timer(&rg->timer,
                  ngx_opay_consul_backoff(rg->failures++,
                                          NGX_OPAY_REGISTRATION_BACKOFF));
}


static void
ngx_opay_registration_set(ngx_opay_registration_t *rg, ngx_uint_t present)
{
    ngx_opay_peers_sh_t  *sh;

    sh = rg->consul->dcf->sh;
    rg->present = present;

    if (sh->generation == rg->consul->dcf->generation) {
        sh->registers[rg->n].registered = present;
    }
}


ngx_uint_t
ngx_opay_registration_is_over(ngx_opay_registration_t *rg)
{
    ngx_uint_t                  i;
    ngx_opay_peers_sh_t        *sh;
    ngx_opay_discovery_conf_t  *dcf;

    dcf = rg->consul->dcf;
    sh = dcf->sh;

    if (sh->generation == dcf->generation) {
        return 1;
    }

    for (i = 0; i < sh->nregisters; i++) {
        if (sh->registers[i].len == rg->reg->id.len
            && ngx_memcmp(sh->registers[i].id, rg->reg->id.data,
                          rg->reg->id.len)
               == 0)
        {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
ngx_opay_registration_leave(ngx_opay_registration_t *rg, ngx_uint_t now)
{
    ngx_int_t           rc;
    ngx_opay_consul_t  *oc;

    oc = rg->consul;
    rg->left = 1;

    ngx_snprintf((u_char *) rg->ask.url, sizeof(rg->ask.url),
                 "%V/v1/agent/service/deregister/%V%Z", &oc->dcf->consul,
                 &rg->reg->id);

    rg->ask.h.done = ngx_opay_registration_leave_done;
    rg->ask.h.background = 0;

    ngx_opay_registration_set(rg, 0);

    if (!now) {
        return ngx_opay_consul_ask(oc, &rg->ask, "PUT", NULL,
                                   NGX_OPAY_REGISTRATION_BYE);
    }

    rc = ngx_opay_consul_prepare(oc, &rg->ask, "PUT", NULL,
                                 NGX_OPAY_REGISTRATION_BYE);

    if (rc == NGX_OK) {
        rc = ngx_opay_http_perform(&rg->ask.h);
        ngx_opay_consul_answered(&rg->ask);
    }

    return rc;
}


static void
ngx_opay_registration_leave_done(ngx_opay_http_t *h)
{
    ngx_uint_t                ok;
    ngx_opay_registration_t  *rg = h->data;

    ok = h->outcome == NGX_OPAY_HTTP_ANSWERED
         && (h->status == NGX_HTTP_OK || h->status == NGX_HTTP_NOT_FOUND);

    if (ok) {
        ngx_log_error(NGX_LOG_NOTICE, rg->consul->log, 0,
                      "opay: \"%V\" is deregistered from Consul",
                      &rg->reg->id);

    } else {
        ngx_log_error(NGX_LOG_WARN, rg->consul->log, 0,
                      "opay: \"%V\" could not be deregistered from Consul",
                      &rg->reg->id);
    }

    ngx_opay_consul_answered(&rg->ask);
}
