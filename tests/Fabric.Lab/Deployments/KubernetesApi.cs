using System.Collections.Concurrent;
using System.Text.Json.Nodes;

using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Fabric.Lab.Deployments;

/// <summary>
/// As much of a Kubernetes API server as a kubectl asks when it applies: discovery, GET and POST of a few kinds, checked strictly,
/// with dry runs. On loopback, without TLS.
/// </summary>
internal sealed class KubernetesApi : IAsyncDisposable
{
    // Group and version, plural, kind, whether it lives in a namespace.
    private static readonly (string Group, string Plural, string Kind, bool Namespaced)[] Kinds =
    [
        ("v1", "namespaces", "Namespace", false),
        ("v1", "configmaps", "ConfigMap", true),
        ("v1", "serviceaccounts", "ServiceAccount", true),
        ("apps/v1", "daemonsets", "DaemonSet", true),
        ("rbac.authorization.k8s.io/v1", "roles", "Role", true),
    ];

    private readonly WebApplication _app;

    private KubernetesApi(WebApplication app) => _app = app;

    /// <summary>http://127.0.0.1:PORT</summary>
    public string Url => _app.Urls.Single();

    /// <summary>What was created for good, by its path.</summary>
    public ConcurrentDictionary<string, JsonObject> Stored { get; } = new();

    /// <summary>What dry runs would have created.</summary>
    public ConcurrentDictionary<string, JsonObject> Dry { get; } = new();

    /// <summary>What it had no answer for: method and path.</summary>
    public ConcurrentQueue<string> Unknown { get; } = new();

    public static async Task<KubernetesApi> Start()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        var api = new KubernetesApi(builder.Build());
        api._app.Run(api.Answer);
        await api._app.StartAsync();
        return api;
    }

    public async ValueTask DisposeAsync() => await _app.DisposeAsync();

    private Task Answer(HttpContext context)
    {
        var path = context.Request.Path.Value!.TrimEnd('/');
        return (context.Request.Method, Discovery(path)) switch
        {
            ("GET", _) when path == "/openapi/v2" => OpenApi(context),
            ("GET", { } document) => Reply(context, 200, document),
            ("GET", _) when Stored.TryGetValue(path, out var stored) => Reply(context, 200, stored),
            ("POST", _) when Kinds.FirstOrDefault(k => path.EndsWith("/" + k.Plural, StringComparison.Ordinal)) is { Kind: not null } kind => Create(context, path, kind),
            _ => NotFound(context, path),
        };
    }

    private static JsonObject? Discovery(string path) => path switch
    {
        "/version" => new JsonObject { ["major"] = "1", ["minor"] = "32", ["gitVersion"] = "v1.32.0" },
        // No schemas: kubectl then merges by the types that it was built with.
        "/openapi/v3" => new JsonObject { ["paths"] = new JsonObject() },
        "/api" => new JsonObject { ["kind"] = "APIVersions", ["versions"] = new JsonArray("v1") },
        "/apis" => new JsonObject
        {
            ["kind"] = "APIGroupList",
            ["apiVersion"] = "v1",
            ["groups"] = new JsonArray([.. Kinds.Select(k => k.Group).Distinct().Where(g => g != "v1").Select(Group)]),
        },
        _ when Kinds.Any(k => path == Base(k.Group)) => new JsonObject
        {
            ["kind"] = "APIResourceList",
            ["apiVersion"] = "v1",
            ["groupVersion"] = Kinds.First(k => path == Base(k.Group)).Group,
            ["resources"] = new JsonArray([.. Kinds.Where(k => path == Base(k.Group)).Select(Resource)]),
        },
        _ => null,
    };

    private static Task OpenApi(HttpContext context)
    {
        context.Response.ContentType = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
        return context.Response.Body.WriteAsync(KubernetesOpenApi.Document(Kinds.Select(k => (k.Group, k.Kind)))).AsTask();
    }

    private static string Base(string group) => group == "v1" ? "/api/v1" : $"/apis/{group}";

    private static JsonNode Group(string group)
    {
        JsonObject Version() => new() { ["groupVersion"] = group, ["version"] = "v1" };
        return new JsonObject { ["name"] = group.Split('/')[0], ["versions"] = new JsonArray(Version()), ["preferredVersion"] = Version() };
    }

    private static JsonNode Resource((string Group, string Plural, string Kind, bool Namespaced) kind) => new JsonObject
    {
        ["name"] = kind.Plural,
        ["singularName"] = kind.Kind.ToLowerInvariant(),
        ["namespaced"] = kind.Namespaced,
        ["kind"] = kind.Kind,
        ["verbs"] = new JsonArray("create", "get", "patch"),
    };

    private async Task Create(HttpContext context, string path, (string Group, string Plural, string Kind, bool Namespaced) kind)
    {
        var value = (await JsonNode.ParseAsync(context.Request.Body))!.AsObject();
        var errors = KubernetesSchema.Check(value, kind.Kind).ToList();
        if ((string?)value["apiVersion"] != kind.Group || (string?)value["kind"] != kind.Kind)
        {
            errors.Add($"{value["apiVersion"]} {value["kind"]} was posted where {kind.Group} {kind.Kind} belongs");
        }

        var folder = kind.Namespaced ? $"{Base(kind.Group)}/namespaces/{value["metadata"]?["namespace"]}/{kind.Plural}" : $"{Base(kind.Group)}/{kind.Plural}";
        if (folder != path)
        {
            errors.Add($"it was posted to {path}, and belongs to {folder}");
        }

        if (errors.Count > 0)
        {
            await Fail(context, 400, "BadRequest", $"{kind.Kind} is invalid: {string.Join("; ", errors)}");
            return;
        }

        // As a real one: nothing is created in a namespace that is not there, not even dry.
        if (kind.Namespaced && !Stored.ContainsKey($"/api/v1/namespaces/{value["metadata"]!["namespace"]}"))
        {
            await Fail(context, 404, "NotFound", $"namespaces \"{value["metadata"]!["namespace"]}\" not found");
            return;
        }

        var into = context.Request.Query["dryRun"] == "All" ? Dry : Stored;
        into[$"{path}/{value["metadata"]!["name"]}"] = value;
        await Reply(context, 201, value);
    }

    private Task NotFound(HttpContext context, string path)
    {
        // To ask for an object that is not there is a part of applying.
        if (context.Request.Method != "GET" || !Kinds.Any(k => path.Contains($"/{k.Plural}/", StringComparison.Ordinal)))
        {
            Unknown.Enqueue($"{context.Request.Method} {path}");
        }

        return Fail(context, 404, "NotFound", $"{path} not found");
    }

    private static Task Fail(HttpContext context, int code, string reason, string message) => Reply(context, code, new JsonObject
    {
        ["kind"] = "Status",
        ["apiVersion"] = "v1",
        ["status"] = "Failure",
        ["reason"] = reason,
        ["message"] = message,
        ["code"] = code,
    });

    private static Task Reply(HttpContext context, int code, JsonObject document)
    {
        context.Response.StatusCode = code;
        context.Response.ContentType = "application/json";
        return context.Response.WriteAsync(document.ToJsonString());
    }
}
