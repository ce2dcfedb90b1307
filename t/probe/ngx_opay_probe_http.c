
/* POST /t/http: core's HTTP client, driven by the body, told as JSON. */

#include "ngx_opay_probe.h"
#include "opay_jsonw.h"


static const char *ngx_opay_probe_string(opay_call_t *call, const char *name);
static ngx_uint_t ngx_opay_probe_number(opay_call_t *call, const char *name,
    ngx_uint_t otherwise);
static void ngx_opay_probe_http_done(ngx_opay_http_t *h);


void
ngx_opay_probe_http(opay_call_t *call)
{
    char             *at;
    ngx_str_t         service;
    const char       *body;
    const char      **headers;
    ngx_opay_http_t  *h;

    h = opay_arena_zalloc(call->arena, sizeof(ngx_opay_http_t));
    headers = opay_arena_zalloc(call->arena, 2 * sizeof(char *));

    if (h == NULL || headers == NULL) {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
        ngx_opay_call_resume(call);
        return;
    }

    service.data = (u_char *) ngx_opay_probe_string(call, "service");

    if (service.data) {
        service.len = ngx_strlen(service.data);
        at = opay_arena_alloc(call->arena, NGX_SOCKADDR_STRLEN + 1);

        if (at == NULL || ngx_opay_peer_pick(&service, at) != NGX_OK) {
            opay_call_fail(call, OPAY_E_UPSTREAM_UNAVAILABLE, "no instance");
            ngx_opay_call_resume(call);
            return;
        }

        h->connect_to = at;

    } else {
        h->connect_to = ngx_opay_probe_string(call, "connectTo");
    }

    headers[0] = ngx_opay_probe_string(call, "header");
    body = ngx_opay_probe_string(call, "body");

    h->arena = call->arena;
    h->method = ngx_opay_probe_string(call, "method");
    h->url = ngx_opay_probe_string(call, "url");
    h->headers = headers;
    h->body = opay_str_of(body);
    h->connect_timeout = ngx_opay_probe_number(call, "connectTimeout", 1000);
    h->timeout = ngx_opay_probe_number(call, "timeout", 3000);
    h->reply_max = ngx_opay_probe_number(call, "replyMax", 4096);
    h->ca = ngx_opay_probe_string(call, "ca");
    h->cert = ngx_opay_probe_string(call, "cert");
    h->key = ngx_opay_probe_string(call, "key");
    h->done = ngx_opay_probe_http_done;
    h->data = call;

    if (ngx_opay_http_send(h) != NGX_OK) {
        opay_call_fail(call, OPAY_E_UNAVAILABLE, "not started");
        ngx_opay_call_resume(call);
    }
}


static void
ngx_opay_probe_http_done(ngx_opay_http_t *h)
{
    opay_jw_t     w;
    opay_call_t  *call;

    static const char  *outcomes[] = { "answered", "not_sent", "unknown" };

    call = h->data;

    opay_jw_init(&w, call->arena, 256);
    opay_jw_obj(&w);
    opay_jw_kcstr(&w, "outcome", outcomes[h->outcome]);
    opay_jw_ki64(&w, "status", h->status);
    opay_jw_kstr(&w, "reply", h->reply);
    opay_jw_ki64(&w, "retryAfter", h->retry_after);
    opay_jw_kcstr(&w, "error", h->error);
    opay_jw_obj_end(&w);

    opay_call_reply(call, 200, opay_jw_result(&w));
    ngx_opay_call_resume(call);
}


static const char *
ngx_opay_probe_string(opay_call_t *call, const char *name)
{
    return json_string_value(json_object_get(call->body, name));
}


static ngx_uint_t
ngx_opay_probe_number(opay_call_t *call, const char *name,
    ngx_uint_t otherwise)
{
    json_t  *n;

    n = json_object_get(call->body, name);

    return json_is_integer(n) ? (ngx_uint_t) json_integer_value(n)
                              : otherwise;
}
