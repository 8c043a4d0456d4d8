vcl 4.1;

# {{TITLE}}
# Rendered by the Showrunner operator. Edits are overwritten.

import directors;
import std;

probe upstream {
    .url = "/healthz";
    .interval = 500ms;
    .timeout = 300ms;
    .window = 3;
    .threshold = 2;
    .initial = 2;
}

{{BACKENDS}}
# One order per try: a retry begins where the try before it did not.
sub vcl_init {
{{DIRECTORS}}}

sub vcl_recv {
    set req.backend_hint = try0.backend();
    # Only this cache may say which cache it is.
    unset req.http.X-Showrunner-Shield;
    unset req.http.X-Showrunner-Query;
    unset req.http.Cookie;
    unset req.http.Authorization;
    unset req.http.Accept-Encoding;

    if (local.socket == "admin") {
        if (req.method == "POST" && req.url == "/flush") {
            ban("obj.status != 0");
            return (synth(200, "Flushed"));
        }
        return (synth(404, "Not Found"));
    }

    if (req.method != "GET" && req.method != "HEAD") {
        return (synth(405, "Method Not Allowed"));
    }

    # The query string is no part of the object, except where low-latency HLS says so.
    if (req.url ~ "^[^?]+\.m3u8\?(.*&)?_HLS_msn=[0-9]{1,12}(&|$)") {
        set req.http.X-Showrunner-Query = regsub(req.url, "^.*[?&](_HLS_msn=[0-9]{1,12}).*$", "?\1");
        if (req.url ~ "[?&]_HLS_part=[0-9]{1,6}(&|$)") {
            set req.http.X-Showrunner-Query =
                req.http.X-Showrunner-Query + regsub(req.url, "^.*[?&](_HLS_part=[0-9]{1,6}).*$", "&\1");
        }
    }
    set req.url = regsub(req.url, "\?.*$", "") + req.http.X-Showrunner-Query;
    unset req.http.X-Showrunner-Query;

    if (req.url == "/livez") {
        return (synth(200, "OK"));
    }
    if (req.url == "/healthz") {
        if (std.file_exists("{{DRAIN}}")) {
            return (synth(503, "Draining"));
        }
        if (!std.healthy(try0.backend())) {
            return (synth(503, "No healthy backend"));
        }
        return (synth(200, "OK"));
    }
    if (req.url !~ "^/live/[a-z0-9][-a-z0-9]*/[a-z0-9][-a-z0-9]*/(index\.m3u8(\?_HLS_.*)?|init\.mp4|seg_[0-9]+\.m4s)$") {
        return (synth(404, "Not Found"));
    }

    # While the upstream works, barely stale is stale enough: anything older is fetched anew, once for all who wait.
    # When it does not, the last good copy is better than an error.
    if (req.restarts > 0 || !std.healthy(try0.backend())) {
        set req.grace = 1d;
    } else {
        set req.grace = 500ms;
    }
    return (hash);
}

sub vcl_hash {
    hash_data(req.url);
    return (lookup);
}

sub vcl_backend_fetch {
    unset bereq.http.X-Forwarded-For;
{{IDENTIFY}}{{RETRY_ORDER}}    return (fetch);
}

sub vcl_backend_response {
    if (beresp.status >= 500) {
        if (bereq.retries < 2) {
            return (retry);
        }
        return (abandon);
    }
{{RETRY_404}}    unset beresp.http.Set-Cookie;
    unset beresp.http.Vary;
    unset beresp.http.X-Cache;
    unset beresp.http.X-Served-By;
    if (beresp.status >= 400) {
        set beresp.ttl = 500ms;
        set beresp.grace = 0s;
        set beresp.keep = 0s;
    } elsif (bereq.url ~ "^[^?]+\.m3u8") {
        set beresp.ttl = {{PLAYLIST_TTL}};
        set beresp.grace = 60s;
        set beresp.keep = 0s;
    } else {
        set beresp.ttl = 1h;
        set beresp.grace = 10m;
        set beresp.keep = 0s;
    }
    return (deliver);
}

sub vcl_backend_error {
    if (bereq.retries < 2) {
        return (retry);
    }
    return (abandon);
}

sub vcl_deliver {
    if (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
    } else {
        set resp.http.X-Cache = "MISS";
    }
    call common_headers;
    return (deliver);
}

sub vcl_synth {
    # No answer from upstream: once more, and then with whatever is kept.
    if (resp.status == 503 && req.restarts == 0 && req.url ~ "^/live/") {
        return (restart);
    }
    set resp.http.Content-Type = "text/plain; charset=utf-8";
    set resp.http.Cache-Control = "no-store";
    if (resp.status == 405) {
        set resp.http.Allow = "GET, HEAD";
    }
    call common_headers;
    set resp.body = resp.reason + {"
"};
    return (deliver);
}

sub common_headers {
    set resp.http.X-Served-By = server.identity;
    set resp.http.Access-Control-Allow-Origin = "*";
    set resp.http.Access-Control-Expose-Headers = "X-Cache, X-Served-By, Age, Content-Length";
    unset resp.http.Via;
    unset resp.http.X-Varnish;
    if (std.file_exists("{{DRAIN}}")) {
        set resp.http.Connection = "close";
    }
}
