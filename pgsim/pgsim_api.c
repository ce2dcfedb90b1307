/* Dispatch, the /_sim/ calls, and what all answers share. */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "pgsim.h"


static void pgsim_sim_serve(pgsim_t *sim, const pgsim_request_t *req,
    pgsim_reply_t *rep);


void
pgsim_serve(pgsim_t *sim, const pgsim_request_t *req, pgsim_reply_t *rep)
{
    memset(rep, 0, sizeof(pgsim_reply_t));
    rep->status = 500;

    if (strncmp(req->url, "/v1/", 4) == 0) {
        pgsim_toss_serve(sim, req, rep);

    } else if (strcmp(req->url, "/livez") == 0) {
        pgsim_reply_json(rep, 200, json_pack("{s:s}", "status", "pass"));

    } else if (strncmp(req->url, "/_sim/", 6) == 0) {
        pgsim_sim_serve(sim, req, rep);

    } else {
        pgsim_reply_error(rep, 404, "NOT_FOUND", "No such address.");
    }
}


static void
pgsim_sim_serve(pgsim_t *sim, const pgsim_request_t *req, pgsim_reply_t *rep)
{
    json_t  *o;

    if (strcmp(req->url, "/_sim/ledger") == 0
        && strcmp(req->method, "GET") == 0)
    {
        pgsim_reply_json(rep, 200,
                         pgsim_ledger_dump(sim->ledger, req->order_filter));
        return;
    }

    if (strcmp(req->url, "/_sim/faults") != 0) {
        pgsim_reply_error(rep, 404, "NOT_FOUND", "No such address.");
        return;
    }

    if (strcmp(req->method, "GET") == 0) {
        pgsim_faults_list(sim->faults, rep);

    } else if (strcmp(req->method, "DELETE") == 0) {
        pgsim_faults_clear(sim->faults, rep);

    } else if (strcmp(req->method, "POST") == 0) {
        o = json_loadb(req->body, req->body_len, JSON_REJECT_DUPLICATES,
                       NULL);
        pgsim_faults_add(sim->faults, o, rep);
        json_decref(o);

    } else {
        pgsim_reply_error(rep, 405, "METHOD_NOT_ALLOWED",
                          "GET, POST or DELETE.");
    }
}


void
pgsim_reply_json(pgsim_reply_t *rep, int status, json_t *o)
{
    free(rep->body);

    rep->body = o ? json_dumps(o, JSON_COMPACT) : NULL;
    rep->status = rep->body ? status : 500;

    json_decref(o);
}


void
pgsim_reply_error(pgsim_reply_t *rep, int status, const char *code,
    const char *message)
{
    pgsim_reply_json(rep, status, json_pack("{s:s, s:s}", "code", code,
                                            "message", message));
}


int
pgsim_wait(pgsim_t *sim, int fd, int64_t ms)
{
    int            n;
    int64_t        left, end;
    struct pollfd  p[2];

    end = opay_mono_ms() + ms;

    p[0].fd = sim->stop_fd;
    p[0].events = POLLIN;
    p[1].fd = fd;
    p[1].events = POLLRDHUP;

    for ( ;; ) {
        left = end - opay_mono_ms();

        if (left <= 0) {
            return 1;
        }

        n = poll(p, 2, (int) left);

        if (n > 0 || (n == -1 && errno != EINTR)) {
            return 0;
        }
    }
}
