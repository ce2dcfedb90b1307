
/*
 * Sessions: refresh tokens that rotate, access tokens, log out.
 */

#include "ngx_opay_auth.h"

#include "opay_event.h"
#include "opay_jsonw.h"


static unsigned ngx_opay_auth_is_successor(opay_call_t *call,
    ngx_opay_auth_cmd_t *cmd);
static opay_db_rc_t ngx_opay_auth_reuse(opay_db_t *db, opay_call_t *call,
    ngx_opay_auth_cmd_t *cmd);
static opay_db_rc_t ngx_opay_auth_revoked(opay_db_t *db, opay_call_t *call,
    ngx_opay_auth_session_t *s, const char *reason);
static void ngx_opay_auth_tokens(opay_call_t *call, ngx_opay_auth_cmd_t *cmd,
    const opay_uuid_t *user, unsigned roles);


static const opay_json_field_t  ngx_opay_auth_refresh_fields[] = {
    { .name = "refreshToken", .type = OPAY_JSON_STRING,
      .flags = OPAY_JSON_REQUIRED|OPAY_JSON_DIGITS,
      .offset = offsetof(ngx_opay_auth_cmd_t, refresh) },
    { .name = NULL }
};


static const char  ngx_opay_auth_bad_refresh[] =
    "The refresh token is not valid any more; log in again.";


void
ngx_opay_auth_refresh_decode(opay_call_t *call)
{
    ngx_opay_auth_cmd_t         *cmd;
    const ngx_opay_auth_conf_t  *conf;

    cmd = ngx_opay_auth_cmd(call, ngx_opay_auth_refresh_fields);
    if (cmd == NULL) {
        return;
    }

    conf = call->conf;

    if (opay_token_parse(&conf->tokens, cmd->refresh, &cmd->token) != OPAY_OK)
    {
        opay_call_fail(call, OPAY_E_REFRESH_TOKEN_INVALID,
                       ngx_opay_auth_bad_refresh);
        return;
    }

    if (ngx_opay_auth_flight_enter(call, &cmd->token.sid) != OPAY_OK) {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
    }
}


/*
 * RFC 9700, section 4.14.2.  Racing and repeated attempts derive the same
 * successor, so at most one generation lives whatever is lost on the way.
 */

opay_db_rc_t
ngx_opay_auth_rotate(opay_db_t *db, opay_call_t **calls, size_t n)
{
    uint8_t                      cur[32], next[32];
    unsigned                     rotated, found;
    opay_call_t                 *call;
    opay_db_rc_t                 rc;
    ngx_opay_auth_cmd_t         *cmd;
    const ngx_opay_auth_conf_t  *conf;

    (void) n;

    call = calls[0];
    cmd = call->cmd;
    conf = call->conf;

    if (opay_token_next(&conf->tokens, 0, &cmd->token, &cmd->next) != OPAY_OK
        || opay_token_hash(&cmd->token, cur) != OPAY_OK
        || opay_token_hash(&cmd->next, next) != OPAY_OK)
    {
        opay_call_fail(call, OPAY_E_REFRESH_TOKEN_INVALID,
                       ngx_opay_auth_bad_refresh);
        return OPAY_DB_OK;
    }

    rc = ngx_opay_auth_session_rotate(db, &cmd->token.sid, cmd->token.gen,
                                      cur, next, conf->refresh_ttl * 1000,
                                      &rotated);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    rc = ngx_opay_auth_session_get(db, call->arena, &cmd->token.sid,
                                   &cmd->session, &found);

    if (rc != OPAY_DB_OK || (rotated && found)) {
        return rc;
    }

    if (found && cmd->session.usable) {

        if (ngx_opay_auth_is_successor(call, cmd)) {
            return OPAY_DB_OK;
        }

        if (cmd->session.gen != (int64_t) cmd->token.gen) {
            return ngx_opay_auth_reuse(db, call, cmd);
        }
    }

    opay_call_fail(call, OPAY_E_REFRESH_TOKEN_INVALID,
                   ngx_opay_auth_bad_refresh);

    return OPAY_DB_OK;
}


/*
 * The token presented is the direct predecessor of the living one, and its
 * holder asked before it could have the answer.
 */

static unsigned
ngx_opay_auth_is_successor(opay_call_t *call, ngx_opay_auth_cmd_t *cmd)
{
    uint8_t                      hash[32];
    unsigned                     i;
    ngx_opay_auth_session_t     *s;
    const ngx_opay_auth_conf_t  *conf;

    conf = call->conf;
    s = &cmd->session;

    if (s->gen != (int64_t) cmd->token.gen + 1 || !s->has_prev
        || opay_token_hash(&cmd->token, hash) != OPAY_OK
        || memcmp(hash, s->prev, 32) != 0)
    {
        return 0;
    }

    if (!ngx_opay_auth_flight_overlapped(&s->sid)
        && s->now - s->rotated > (int64_t) conf->grace)
    {
        return 0;
    }

    for (i = 0; i < conf->tokens.n; i++) {
        if (opay_token_next(&conf->tokens, i, &cmd->token, &cmd->next)
            == OPAY_OK
            && opay_token_hash(&cmd->next, hash) == OPAY_OK
            && memcmp(hash, s->cur, 32) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* The answer is an error, and the revocation is committed all the same. */

static opay_db_rc_t
ngx_opay_auth_reuse(opay_db_t *db, opay_call_t *call,
    ngx_opay_auth_cmd_t *cmd)
{
    opay_call_fail(call, OPAY_E_REFRESH_TOKEN_INVALID,
                   ngx_opay_auth_bad_refresh);

    return ngx_opay_auth_revoked(db, call, &cmd->session, "REUSE");
}


static opay_db_rc_t
ngx_opay_auth_revoked(opay_db_t *db, opay_call_t *call,
    ngx_opay_auth_session_t *s, const char *reason)
{
    unsigned          revoked;
    opay_jw_t         w;
    opay_db_rc_t      rc;
    ngx_opay_event_t  ev;

    rc = ngx_opay_auth_session_revoke(db, &s->sid, reason, &revoked);

    if (rc != OPAY_DB_OK || !revoked) {
        return rc;
    }

    opay_jw_init(&w, call->arena, 256);
    opay_jw_obj(&w);
    opay_jw_kuuid(&w, "userId", &s->user);
    opay_jw_kuuid(&w, "sessionId", &s->sid);
    opay_jw_kcstr(&w, "reason", reason);
    opay_jw_ktime(&w, "revokedAt", call->now);
    opay_jw_obj_end(&w);

    memset(&ev, 0, sizeof(ngx_opay_event_t));

    ev.agg_type = OPAY_AGG_SESSION;
    ev.agg_id = s->sid;
    ev.version = 1;
    ev.type = OPAY_EVENT_AUTH_SESSION_REVOKED;
    ev.key = s->user;
    ev.data = opay_jw_result(&w);
    ev.actor = "auth";
    ev.traceparent = call->traceparent;

    if (ev.data.data == NULL) {
        return OPAY_DB_ERROR;
    }

    call->wrote = 1;

    return ngx_opay_events_append(db, call->arena, &ev, 1);
}


/* Login and refresh end here, after their commit and without the database. */

opay_db_rc_t
ngx_opay_auth_mint(opay_db_t *db, opay_call_t **calls, size_t n)
{
    size_t                i;
    ngx_opay_auth_cmd_t  *cmd;

    (void) db;

    for (i = 0; i < n; i++) {
        cmd = calls[i]->cmd;
        ngx_opay_auth_tokens(calls[i], cmd, &cmd->session.user,
                             cmd->session.roles);
    }

    return OPAY_DB_OK;
}


static void
ngx_opay_auth_tokens(opay_call_t *call, ngx_opay_auth_cmd_t *cmd,
    const opay_uuid_t *user, unsigned roles)
{
    char                         access[OPAY_JWT_MAX + 1];
    char                         refresh[OPAY_TOKEN_LEN + 1];
    size_t                       len;
    opay_jw_t                    w;
    opay_uuid_t                  jti;
    opay_jwt_claims_t            claims;
    const ngx_opay_auth_conf_t  *conf;

    conf = call->conf;

    memset(&claims, 0, sizeof(opay_jwt_claims_t));

    claims.id.known = 1;
    claims.id.user = *user;
    claims.id.session = cmd->next.sid;
    claims.id.roles = roles;
    claims.issued = opay_now_ms() / 1000;
    claims.id.expires = claims.issued + conf->access_ttl;

    if (opay_uuid_v7(&jti) != OPAY_OK) {
        goto failed;
    }

    (void) opay_uuid_format(&jti, claims.jti);

    if (opay_jwt_mint(conf->key, conf->policy, &claims, access,
                      sizeof(access), &len)
        != OPAY_OK
        || opay_token_encode(&conf->tokens, &cmd->next, refresh) != OPAY_OK)
    {
        goto failed;
    }

    opay_jw_init(&w, call->arena, 1024);
    opay_jw_obj(&w);
    opay_jw_kcstr(&w, "accessToken", access);
    opay_jw_kcstr(&w, "refreshToken", refresh);
    opay_jw_kcstr(&w, "tokenType", "Bearer");
    opay_jw_ki64(&w, "expiresIn", conf->access_ttl);
    opay_jw_ki64(&w, "refreshExpiresIn", conf->refresh_ttl);
    opay_jw_obj_end(&w);

    opay_call_reply(call, 200, opay_jw_result(&w));
    call->no_store = 1;

    return;

failed:

    opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
}


/* 204 also when the session is gone: logging out twice is fine. */

opay_db_rc_t
ngx_opay_auth_logout(opay_db_t *db, opay_call_t **calls, size_t n)
{
    unsigned              found;
    opay_call_t          *call;
    opay_db_rc_t          rc;
    ngx_opay_auth_cmd_t  *cmd;

    (void) n;

    call = calls[0];
    cmd = call->cmd;

    rc = ngx_opay_auth_session_get(db, call->arena, &cmd->token.sid,
                                   &cmd->session, &found);

    if (rc == OPAY_DB_OK && found && !cmd->session.revoked) {
        rc = ngx_opay_auth_revoked(db, call, &cmd->session, "LOGOUT");
    }

    if (rc == OPAY_DB_OK) {
        opay_call_reply(call, 204, (opay_str_t) opay_str_null);
    }

    return rc;
}
