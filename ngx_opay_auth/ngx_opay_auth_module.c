
/* The auth service: directives, and the route table. */

#include "ngx_opay_auth.h"


static void *ngx_opay_auth_create_conf(ngx_conf_t *cf);
static char *ngx_opay_auth_merge_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_opay_auth_load_keys(ngx_conf_t *cf,
    ngx_opay_auth_conf_t *conf);
static char *ngx_opay_auth_load_secrets(ngx_conf_t *cf,
    ngx_opay_auth_conf_t *conf);
static char *ngx_opay_auth_file(ngx_conf_t *cf, const char *directive,
    ngx_str_t *path, opay_str_t *text);
static char *ngx_opay_auth(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_opay_auth_argon2(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_opay_auth_admin(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static void ngx_opay_auth_cleanup(void *data);


static ngx_opay_route_t  ngx_opay_auth_routes[] = {

    { "POST", "/api/auth/signup", NGX_OPAY_PUBLIC, NGX_OPAY_BODY, 8192,
      ngx_opay_auth_signup_decode,
      { { "auth.hash", NGX_OPAY_HASH, 1, ngx_opay_auth_hash, NULL },
        { "auth.signup", NGX_OPAY_WRITE, 1, ngx_opay_auth_signup, NULL } } },

    { "POST", "/api/auth/login", NGX_OPAY_PUBLIC, NGX_OPAY_BODY, 8192,
      ngx_opay_auth_login_decode,
      { { "auth.find", NGX_OPAY_READ, 1, ngx_opay_auth_find, NULL },
        { "auth.verify", NGX_OPAY_HASH, 1, ngx_opay_auth_verify, NULL },
        { "auth.login", NGX_OPAY_WRITE, 1, ngx_opay_auth_login, NULL },
        { "auth.mint", NGX_OPAY_READ, 8, ngx_opay_auth_mint, NULL } } },

    { "POST", "/api/auth/refresh", NGX_OPAY_PUBLIC, NGX_OPAY_BODY, 4096,
      ngx_opay_auth_refresh_decode,
      { { "auth.rotate", NGX_OPAY_WRITE, 1, ngx_opay_auth_rotate, NULL },
        { "auth.mint", NGX_OPAY_READ, 8, ngx_opay_auth_mint, NULL } } },

    { "POST", "/api/auth/logout", NGX_OPAY_PUBLIC, NGX_OPAY_BODY, 4096,
      ngx_opay_auth_refresh_decode,
      { { "auth.logout", NGX_OPAY_WRITE, 1, ngx_opay_auth_logout, NULL } } },

    { "GET", "/.well-known/jwks.json", NGX_OPAY_PUBLIC, 0, 0, NULL,
      { { "auth.jwks", NGX_OPAY_INLINE, 1, NULL, ngx_opay_auth_jwks } } },

    { .method = NULL }
};


static ngx_opay_job_t  ngx_opay_auth_jobs[] = {

    { "auth.admin", 60000, ngx_opay_auth_admin_make,
      { { "auth.admin_find", NGX_OPAY_READ, 1, ngx_opay_auth_admin_find,
          NULL },
        { "auth.hash", NGX_OPAY_HASH, 1, ngx_opay_auth_hash, NULL },
        { "auth.signup", NGX_OPAY_WRITE, 1, ngx_opay_auth_signup, NULL } } },

    { .name = NULL }
};


static ngx_opay_service_t  ngx_opay_auth_service = {
    "auth", ngx_opay_auth_routes, ngx_opay_auth_jobs
};


#define ngx_opay_auth_directive(name, args, set, field)                      \
    { ngx_string(name),                                                      \
      NGX_HTTP_SRV_CONF|args,                                                \
      set,                                                                   \
      NGX_HTTP_SRV_CONF_OFFSET,                                              \
      offsetof(ngx_opay_auth_conf_t, field),                                 \
      NULL }


static ngx_command_t  ngx_opay_auth_commands[] = {

    ngx_opay_auth_directive("opay_auth", NGX_CONF_NOARGS, ngx_opay_auth,
                            enabled),

    ngx_opay_auth_directive("opay_auth_signing_key", NGX_CONF_TAKE1,
                            ngx_conf_set_str_slot, signing_key),

    ngx_opay_auth_directive("opay_auth_jwks", NGX_CONF_TAKE1,
                            ngx_conf_set_str_slot, jwks_file),

    ngx_opay_auth_directive("opay_auth_refresh_key", NGX_CONF_TAKE1,
                            ngx_conf_set_str_slot, refresh_key),

    ngx_opay_auth_directive("opay_auth_pepper", NGX_CONF_TAKE1,
                            ngx_conf_set_str_slot, pepper),

    ngx_opay_auth_directive("opay_auth_access_ttl", NGX_CONF_TAKE1,
                            ngx_conf_set_sec_slot, access_ttl),

    ngx_opay_auth_directive("opay_auth_refresh_ttl", NGX_CONF_TAKE1,
                            ngx_conf_set_sec_slot, refresh_ttl),

    ngx_opay_auth_directive("opay_auth_session_ttl", NGX_CONF_TAKE1,
                            ngx_conf_set_sec_slot, session_ttl),

    ngx_opay_auth_directive("opay_auth_refresh_grace", NGX_CONF_TAKE1,
                            ngx_conf_set_msec_slot, grace),

    ngx_opay_auth_directive("opay_auth_argon2", NGX_CONF_TAKE3,
                            ngx_opay_auth_argon2, argon2),

    ngx_opay_auth_directive("opay_auth_admin", NGX_CONF_TAKE2,
                            ngx_opay_auth_admin, admin_email),

      ngx_null_command
};


static ngx_http_module_t  ngx_opay_auth_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_opay_auth_create_conf,             /* create server configuration */
    ngx_opay_auth_merge_conf,              /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_opay_auth_module = {
    NGX_MODULE_V1,
    &ngx_opay_auth_module_ctx,             /* module context */
    ngx_opay_auth_commands,                /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_opay_auth_create_conf(ngx_conf_t *cf)
{
    ngx_opay_auth_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_opay_auth_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /* set by ngx_pcalloc(): strings, enabled, keys, argon2 */

    conf->access_ttl = NGX_CONF_UNSET;
    conf->refresh_ttl = NGX_CONF_UNSET;
    conf->session_ttl = NGX_CONF_UNSET;
    conf->grace = NGX_CONF_UNSET_MSEC;

    return conf;
}


static char *
ngx_opay_auth_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_opay_auth_conf_t *conf = child;

    (void) parent;

    if (!conf->enabled) {
        return NGX_CONF_OK;
    }

    if (conf->access_ttl == NGX_CONF_UNSET) {
        conf->access_ttl = 300;
    }

    if (conf->refresh_ttl == NGX_CONF_UNSET) {
        conf->refresh_ttl = 30 * 24 * 3600;
    }

    if (conf->session_ttl == NGX_CONF_UNSET) {
        conf->session_ttl = 90 * 24 * 3600;
    }

    if (conf->grace == NGX_CONF_UNSET_MSEC) {
        conf->grace = 0;
    }

    if (conf->argon2.m_kib == 0) {
        conf->argon2.m_kib = 19456;
        conf->argon2.t = 2;
        conf->argon2.p = 1;
    }

    if (conf->access_ttl < 1 || conf->access_ttl > 3600) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_auth_access_ttl\" must be between 1s and "
                           "1h");
        return NGX_CONF_ERROR;
    }

    if (ngx_opay_auth_load_keys(cf, conf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_opay_auth_load_secrets(cf, conf);
}


static char *
ngx_opay_auth_load_keys(ngx_conf_t *cf, ngx_opay_auth_conf_t *conf)
{
    char                 err[256];
    opay_str_t           pem;
    opay_jwks_t         *jwks;
    ngx_pool_cleanup_t  *cln;

    if (ngx_opay_auth_file(cf, "opay_auth_signing_key", &conf->signing_key,
                           &pem)
        != NGX_CONF_OK
        || ngx_opay_auth_file(cf, "opay_auth_jwks", &conf->jwks_file,
                              &conf->jwks)
           != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    conf->key = opay_jwk_own_parse(pem, err, sizeof(err));

    if (conf->key == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_auth_signing_key\" cannot use \"%V\": %s",
                           &conf->signing_key, err);
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_opay_auth_cleanup;
    cln->data = conf;

    jwks = opay_jwks_parse(conf->jwks, err, sizeof(err));

    if (jwks == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_auth_jwks\" cannot use \"%V\": %s",
                           &conf->jwks_file, err);
        return NGX_CONF_ERROR;
    }

    if (opay_jwks_find(jwks, opay_str_of(opay_jwk_own_key(conf->key)->kid))
        == NULL)
    {
        opay_jwks_destroy(jwks);
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_auth_jwks\" \"%V\" lacks the public half "
                           "of \"opay_auth_signing_key\"", &conf->jwks_file);
        return NGX_CONF_ERROR;
    }

    opay_jwks_destroy(jwks);

    conf->policy = ngx_opay_jwt_policy(cf);

    return NGX_CONF_OK;
}


static char *
ngx_opay_auth_load_secrets(ngx_conf_t *cf, ngx_opay_auth_conf_t *conf)
{
    opay_str_t  text;

    if (ngx_opay_auth_file(cf, "opay_auth_refresh_key", &conf->refresh_key,
                           &text)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (opay_token_keys_parse(&conf->tokens, text) != OPAY_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_auth_refresh_key\" \"%V\" must hold one "
                           "or two lines of 64 hex digits",
                           &conf->refresh_key);
        return NGX_CONF_ERROR;
    }

    if (ngx_opay_auth_file(cf, "opay_auth_pepper", &conf->pepper, &text)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (opay_password_peppers_parse(&conf->peppers, text) != OPAY_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_auth_pepper\" \"%V\" must hold one or two "
                           "lines of 64 hex digits", &conf->pepper);
        return NGX_CONF_ERROR;
    }

    if (opay_password_dummy(&conf->peppers, &conf->argon2, conf->dummy)
        != OPAY_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (conf->admin_email.len == 0) {
        return NGX_CONF_OK;
    }

    if (ngx_opay_conf_secret(cf, "opay_auth_admin", &conf->admin_password,
                             &conf->admin_secret)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (opay_password_policy(conf->admin_secret,
                             (opay_str_t) opay_str_null)
        != OPAY_PASSWORD_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_auth_admin\": the password in \"%V\" must "
                           "have 8 to 128 characters and not be a common "
                           "one", &conf->admin_password);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_opay_auth_file(ngx_conf_t *cf, const char *directive, ngx_str_t *path,
    opay_str_t *text)
{
    if (path->len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_auth\" needs \"%s\"", directive);
        return NGX_CONF_ERROR;
    }

    return ngx_opay_conf_file(cf, directive, path, text);
}


static char *
ngx_opay_auth(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_opay_auth_conf_t *acf = conf;

    (void) cmd;

    if (acf->enabled) {
        return "is duplicate";
    }

    acf->enabled = 1;

    return ngx_opay_service_attach(cf, NGX_OPAY_ABI, &ngx_opay_auth_service,
                                   acf);
}


static char *
ngx_opay_auth_argon2(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_opay_auth_conf_t *acf = conf;

    ngx_int_t    m, t, p;
    ngx_str_t   *value;

    (void) cmd;

    value = cf->args->elts;

    if (ngx_strncmp(value[1].data, "m=", 2) != 0
        || ngx_strncmp(value[2].data, "t=", 2) != 0
        || ngx_strncmp(value[3].data, "p=", 2) != 0)
    {
        return "must be m=<KiB> t=<passes> p=<lanes>";
    }

    m = ngx_atoi(value[1].data + 2, value[1].len - 2);
    t = ngx_atoi(value[2].data + 2, value[2].len - 2);
    p = ngx_atoi(value[3].data + 2, value[3].len - 2);

    if (m == NGX_ERROR || t == NGX_ERROR || p == NGX_ERROR) {
        return "must be m=<KiB> t=<passes> p=<lanes>";
    }

    acf->argon2.m_kib = m;
    acf->argon2.t = t;
    acf->argon2.p = p;

    if (opay_password_params_check(&acf->argon2) != OPAY_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_auth_argon2\" must be within m=8..65536, "
                           "t=1..10, p=1..4");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_opay_auth_admin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_opay_auth_conf_t *acf = conf;

    char         email[OPAY_EMAIL_MAX + 1];
    size_t       len;
    ngx_str_t   *value;
    opay_str_t   s;

    (void) cmd;

    value = cf->args->elts;

    s.data = (char *) value[1].data;
    s.len = value[1].len;

    if (opay_email_normalize(s, email, &len) != OPAY_EMAIL_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"opay_auth_admin\": \"%V\" is no e-mail address",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    acf->admin_email = value[1];
    acf->admin_password = value[2];

    return NGX_CONF_OK;
}


static void
ngx_opay_auth_cleanup(void *data)
{
    ngx_opay_auth_conf_t *conf = data;

    opay_jwk_own_destroy(conf->key);
    opay_token_keys_wipe(&conf->tokens);
    ngx_explicit_memzero(&conf->peppers, sizeof(opay_password_peppers_t));
}
