
/*
 * The operations of the auth service: sign up, log in, refresh, log out.
 *
 * Time tells nothing about accounts: a login verifies one hash whether or not
 * the address is known.  Hashing happens on the HASH lane between two short
 * database steps, never inside a transaction.
 */

#include "ngx_opay_auth.h"

#include "opay_event.h"
#include "opay_json.h"
#include "opay_jsonw.h"


typedef struct {
    opay_str_t               email;
    opay_str_t               password;
    opay_str_t               name;
    opay_str_t               phone;
    opay_str_t               address;
    opay_str_t               refresh;

    ngx_opay_auth_user_t     user;
    unsigned                 found;
    char                     rehash[OPAY_PASSWORD_PHC_MAX];

    ngx_opay_auth_session_t  session;
    opay_token_t             token;       /* the one presented */
    opay_token_t             next;        /* the one to hand out */
} ngx_opay_auth_cmd_t;


static ngx_opay_auth_cmd_t *ngx_opay_auth_cmd(opay_call_t *call,
    const opay_json_field_t *fields);
static void ngx_opay_auth_email(opay_call_t *call, ngx_opay_auth_cmd_t *cmd);
static opay_str_t ngx_opay_auth_user_json(opay_call_t *call,
    ngx_opay_auth_cmd_t *cmd, unsigned event);
static void ngx_opay_auth_roles_json(opay_jw_t *w, unsigned roles);
static opay_db_rc_t ngx_opay_auth_create(opay_db_t *db, opay_call_t *call,
    ngx_opay_auth_cmd_t *cmd, const char *actor);
static opay_db_rc_t ngx_opay_auth_reuse(opay_db_t *db, opay_call_t *call,
    ngx_opay_auth_cmd_t *cmd);
static opay_db_rc_t ngx_opay_auth_revoked(opay_db_t *db, opay_call_t *call,
    ngx_opay_auth_session_t *s, const char *reason);
static unsigned ngx_opay_auth_is_successor(opay_call_t *call,
    ngx_opay_auth_cmd_t *cmd);
static void ngx_opay_auth_tokens(opay_call_t *call, ngx_opay_auth_cmd_t *cmd,
    const opay_uuid_t *user, unsigned roles);


static const opay_json_field_t  ngx_opay_auth_signup_fields[] = {
    { .name = "email", .type = OPAY_JSON_STRING, .flags = OPAY_JSON_REQUIRED,
      .min = 1, .max = OPAY_EMAIL_MAX + 16,
      .offset = offsetof(ngx_opay_auth_cmd_t, email) },
    { .name = "password", .type = OPAY_JSON_STRING,
      .flags = OPAY_JSON_REQUIRED|OPAY_JSON_DIGITS|OPAY_JSON_MULTILINE,
      .offset = offsetof(ngx_opay_auth_cmd_t, password) },
    { .name = "name", .type = OPAY_JSON_STRING, .flags = OPAY_JSON_REQUIRED,
      .min = 1, .max = 100, .offset = offsetof(ngx_opay_auth_cmd_t, name) },
    { .name = "phoneNumber", .type = OPAY_JSON_STRING,
      .flags = OPAY_JSON_NULLABLE|OPAY_JSON_DIGITS, .min = 3, .max = 32,
      .offset = offsetof(ngx_opay_auth_cmd_t, phone) },
    { .name = "address", .type = OPAY_JSON_STRING,
      .flags = OPAY_JSON_NULLABLE|OPAY_JSON_MULTILINE, .min = 1, .max = 255,
      .offset = offsetof(ngx_opay_auth_cmd_t, address) },
    { .name = NULL }
};


static const opay_json_field_t  ngx_opay_auth_login_fields[] = {
    { .name = "email", .type = OPAY_JSON_STRING, .flags = OPAY_JSON_REQUIRED,
      .offset = offsetof(ngx_opay_auth_cmd_t, email) },
    { .name = "password", .type = OPAY_JSON_STRING,
      .flags = OPAY_JSON_REQUIRED|OPAY_JSON_DIGITS|OPAY_JSON_MULTILINE,
      .offset = offsetof(ngx_opay_auth_cmd_t, password) },
    { .name = NULL }
};


static const opay_json_field_t  ngx_opay_auth_refresh_fields[] = {
    { .name = "refreshToken", .type = OPAY_JSON_STRING,
      .flags = OPAY_JSON_REQUIRED|OPAY_JSON_DIGITS,
      .offset = offsetof(ngx_opay_auth_cmd_t, refresh) },
    { .name = NULL }
};


static const char  ngx_opay_auth_bad_login[] =
    "E-mail or password is wrong.";

static const char  ngx_opay_auth_bad_refresh[] =
    "The refresh token is not valid any more; log in again.";


/* NULL: the outcome is set. */

static ngx_opay_auth_cmd_t *
ngx_opay_auth_cmd(opay_call_t *call, const opay_json_field_t *fields)
{
    ngx_opay_auth_cmd_t  *cmd;

    cmd = opay_arena_zalloc(call->arena, sizeof(ngx_opay_auth_cmd_t));

    if (cmd == NULL) {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
        return NULL;
    }

    call->cmd = cmd;
    call->no_store = 1;

    if (opay_json_unpack(call, call->body, "", fields, cmd) != OPAY_OK) {
        return NULL;
    }

    return cmd;
}


void
ngx_opay_auth_signup_decode(opay_call_t *call)
{
    ngx_opay_auth_cmd_t     *cmd;
    opay_password_policy_e   policy;

    cmd = ngx_opay_auth_cmd(call, ngx_opay_auth_signup_fields);
    if (cmd == NULL) {
        return;
    }

    ngx_opay_auth_email(call, cmd);

    policy = opay_password_policy(cmd->password,
                                  opay_str_of(cmd->user.email));

    if (policy != OPAY_PASSWORD_OK) {
        opay_call_invalid(call, "/password",
                          opay_password_policy_name(policy),
                          "8 to 128 characters; not a common password, not "
                          "the e-mail address.");
    }

    cmd->user.roles = OPAY_ROLE_BIT_USER;
    cmd->user.active = 1;

    if (opay_uuid_v7(&cmd->user.id) != OPAY_OK) {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
    }
}


static void
ngx_opay_auth_email(opay_call_t *call, ngx_opay_auth_cmd_t *cmd)
{
    size_t        len;
    opay_email_e  e;

    e = opay_email_normalize(cmd->email, cmd->user.email, &len);

    if (e != OPAY_EMAIL_OK) {
        opay_call_invalid(call, "/email", opay_email_name(e),
                          "An address of the form name@example.com, in "
                          "ASCII.");
    }
}


/* Signup, and the first admin: password to PHC. */

opay_db_rc_t
ngx_opay_auth_hash(opay_db_t *db, opay_call_t **calls, size_t n)
{
    ngx_opay_auth_cmd_t         *cmd;
    const ngx_opay_auth_conf_t  *conf;

    (void) db;
    (void) n;

    cmd = calls[0]->cmd;
    conf = calls[0]->conf;

    if (opay_password_hash(&conf->peppers, &conf->argon2, cmd->password,
                           cmd->user.phc)
        != OPAY_OK)
    {
        opay_call_fail(calls[0], OPAY_E_INTERNAL_ERROR, NULL);
    }

    return OPAY_DB_OK;
}


opay_db_rc_t
ngx_opay_auth_signup(opay_db_t *db, opay_call_t **calls, size_t n)
{
    char                  id[OPAY_UUID_TEXT + 1], actor[64];
    opay_call_t          *call;
    opay_db_rc_t          rc;
    ngx_opay_auth_cmd_t  *cmd;

    (void) n;

    call = calls[0];
    cmd = call->cmd;

    (void) opay_uuid_format(&cmd->user.id, id);
    (void) snprintf(actor, sizeof(actor), "user:%s", id);

    rc = ngx_opay_auth_create(db, call, cmd, actor);

    if (rc == OPAY_DB_DUP) {
        opay_call_fail(call, OPAY_E_EMAIL_TAKEN,
                       "There is an account with this e-mail address.");
        return OPAY_DB_ROLLBACK;
    }

    if (rc != OPAY_DB_OK) {
        return rc;
    }

    opay_call_reply(call, 201, ngx_opay_auth_user_json(call, cmd, 0));
    call->location = opay_arena_printf(call->arena, "/api/users/%s", id);

    return OPAY_DB_OK;
}


static opay_db_rc_t
ngx_opay_auth_create(opay_db_t *db, opay_call_t *call,
    ngx_opay_auth_cmd_t *cmd, const char *actor)
{
    opay_db_rc_t      rc;
    ngx_opay_event_t  ev;

    rc = ngx_opay_auth_user_insert(db, &cmd->user, call->now);
    if (rc != OPAY_DB_OK) {
        return rc;
    }

    memset(&ev, 0, sizeof(ngx_opay_event_t));

    ev.agg_type = OPAY_AGG_USER;
    ev.agg_id = cmd->user.id;
    ev.version = 1;
    ev.type = OPAY_EVENT_USER_CREATED;
    ev.key = cmd->user.id;
    ev.data = ngx_opay_auth_user_json(call, cmd, 1);
    ev.actor = opay_arena_strdup(call->arena, actor);
    ev.traceparent = call->traceparent;

    if (ev.data.data == NULL || ev.actor == NULL) {
        return OPAY_DB_ERROR;
    }

    call->wrote = 1;

    return ngx_opay_events_append(db, call->arena, &ev, 1);
}


/* The answer to a signup, and the data of user.created. */

static opay_str_t
ngx_opay_auth_user_json(opay_call_t *call, ngx_opay_auth_cmd_t *cmd,
    unsigned event)
{
    opay_jw_t  w;

    opay_jw_init(&w, call->arena, 512);
    opay_jw_obj(&w);
    opay_jw_kuuid(&w, event ? "userId" : "id", &cmd->user.id);
    opay_jw_kcstr(&w, "email", cmd->user.email);
    opay_jw_kstr(&w, "name", cmd->name);

    if (event) {
        opay_jw_kstr(&w, "phoneNumber", cmd->phone);
        opay_jw_kstr(&w, "address", cmd->address);
    }

    opay_jw_key(&w, "roles");
    ngx_opay_auth_roles_json(&w, cmd->user.roles);
    opay_jw_ktime(&w, "createdAt", call->now);
    opay_jw_obj_end(&w);

    return opay_jw_result(&w);
}


static void
ngx_opay_auth_roles_json(opay_jw_t *w, unsigned roles)
{
    opay_jw_arr(w);

    if (roles & OPAY_ROLE_BIT_USER) {
        opay_jw_cstr(w, "USER");
    }

    if (roles & OPAY_ROLE_BIT_ADMIN) {
        opay_jw_cstr(w, "ADMIN");
    }

    opay_jw_arr_end(w);
}


void
ngx_opay_auth_login_decode(opay_call_t *call)
{
    size_t                len;
    ngx_opay_auth_cmd_t  *cmd;

    cmd = ngx_opay_auth_cmd(call, ngx_opay_auth_login_fields);

    if (cmd == NULL) {
        return;
    }

    if (cmd->password.len > OPAY_PASSWORD_BYTES_MAX) {
        /* nothing that long was ever set; no hash is spent on it */
        opay_call_fail(call, OPAY_E_INVALID_CREDENTIALS,
                       ngx_opay_auth_bad_login);
        return;
    }

    /* an address nobody can have is just an unknown one */

    if (opay_email_normalize(cmd->email, cmd->user.email, &len)
        != OPAY_EMAIL_OK)
    {
        cmd->user.email[0] = '\0';
    }
}


opay_db_rc_t
ngx_opay_auth_find(opay_db_t *db, opay_call_t **calls, size_t n)
{
    ngx_opay_auth_cmd_t  *cmd;

    (void) n;

    cmd = calls[0]->cmd;

    return ngx_opay_auth_user_find(db, calls[0]->arena,
                                   opay_str_of(cmd->user.email), &cmd->user,
                                   &cmd->found);
}


opay_db_rc_t
ngx_opay_auth_verify(opay_db_t *db, opay_call_t **calls, size_t n)
{
    opay_call_t                 *call;
    ngx_opay_auth_cmd_t         *cmd;
    opay_password_verdict_e      verdict;
    const ngx_opay_auth_conf_t  *conf;

    (void) db;
    (void) n;

    call = calls[0];
    cmd = call->cmd;
    conf = call->conf;

    verdict = opay_password_verify(&conf->peppers,
                       opay_str_of(cmd->found ? cmd->user.phc : conf->dummy),
                       cmd->password);

    if (verdict == OPAY_PASSWORD_FAILED) {
        opay_call_fail(call, OPAY_E_OVERLOADED, NULL);
        call->retry_after = 1;
        return OPAY_DB_OK;
    }

    if (verdict != OPAY_PASSWORD_MATCH || !cmd->found || !cmd->user.active) {
        opay_call_fail(call, OPAY_E_INVALID_CREDENTIALS,
                       ngx_opay_auth_bad_login);
        return OPAY_DB_OK;
    }

    if (opay_password_needs_rehash(&conf->peppers, &conf->argon2,
                                   opay_str_of(cmd->user.phc))
        && opay_password_hash(&conf->peppers, &conf->argon2, cmd->password,
                              cmd->rehash)
           != OPAY_OK)
    {
        cmd->rehash[0] = '\0';
    }

    if (opay_uuid_v7(&cmd->session.sid) != OPAY_OK
        || opay_token_first(&conf->tokens, &cmd->session.sid, &cmd->next)
           != OPAY_OK
        || opay_token_hash(&cmd->next, cmd->session.cur) != OPAY_OK)
    {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
    }

    cmd->session.user = cmd->user.id;
    cmd->session.roles = cmd->user.roles;

    return OPAY_DB_OK;
}


opay_db_rc_t
ngx_opay_auth_login(opay_db_t *db, opay_call_t **calls, size_t n)
{
    opay_str_t                   device;
    opay_call_t                 *call;
    opay_db_rc_t                 rc;
    ngx_opay_auth_cmd_t         *cmd;
    const ngx_opay_auth_conf_t  *conf;

    (void) n;

    call = calls[0];
    cmd = call->cmd;
    conf = call->conf;

    device = call->user_agent;

    if (device.len > 128
        || opay_utf8_length(device, &(size_t) { 0 }) != OPAY_OK)
    {
        device.data = NULL;
    }

    rc = ngx_opay_auth_session_insert(db, &cmd->session, cmd->user.epoch,
                                      conf->refresh_ttl * 1000,
                                      conf->session_ttl * 1000, device);

    if (rc == OPAY_DB_OK && cmd->rehash[0]) {
        rc = ngx_opay_auth_user_password(db, &cmd->user.id, cmd->user.phc,
                                         cmd->rehash);
    }

    return rc;                             /* the next step mints */
}


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


void
ngx_opay_auth_jwks(opay_call_t *call)
{
    const ngx_opay_auth_conf_t  *conf;

    conf = call->conf;

    opay_call_reply(call, 200, conf->jwks);
}


/* A job: the first admin, out of opay_auth_admin. */

void
ngx_opay_auth_admin_make(opay_call_t *call)
{
    size_t                       len;
    opay_str_t                   email;
    ngx_opay_auth_cmd_t         *cmd;
    const ngx_opay_auth_conf_t  *conf;

    conf = call->conf;

    if (conf->admin_email.len == 0) {
        opay_call_reply(call, 200, (opay_str_t) opay_str_null);
        return;
    }

    cmd = opay_arena_zalloc(call->arena, sizeof(ngx_opay_auth_cmd_t));

    email.len = conf->admin_email.len;
    email.data = (char *) conf->admin_email.data;

    if (cmd == NULL
        || opay_email_normalize(email, cmd->user.email, &len)
           != OPAY_EMAIL_OK
        || opay_uuid_v7(&cmd->user.id) != OPAY_OK)
    {
        opay_call_fail(call, OPAY_E_INTERNAL_ERROR, NULL);
        return;
    }

    cmd->user.roles = OPAY_ROLE_BIT_USER|OPAY_ROLE_BIT_ADMIN;
    cmd->user.active = 1;
    cmd->password = conf->admin_secret;
    cmd->name = opay_str_of("Administrator");
    call->cmd = cmd;
}


opay_db_rc_t
ngx_opay_auth_admin_find(opay_db_t *db, opay_call_t **calls, size_t n)
{
    opay_db_rc_t          rc;
    ngx_opay_auth_cmd_t  *cmd;
    ngx_opay_auth_user_t  user;

    (void) n;

    cmd = calls[0]->cmd;

    rc = ngx_opay_auth_user_find(db, calls[0]->arena,
                                 opay_str_of(cmd->user.email), &user,
                                 &cmd->found);

    if (rc == OPAY_DB_OK && cmd->found) {
        opay_call_reply(calls[0], 200, (opay_str_t) opay_str_null);
    }

    return rc;
}
