using System.Net;

namespace Fabric.Tunnel;

/// <summary>A service address that applications connect to, or send datagrams to.</summary>
public sealed record ServiceListener(string Service, int Port, IPEndPoint Address)
{
    /// <summary>What the address stands for: the service, or one of its sites or hosts, by the key that the deciders know it by. It is what status shows.</summary>
    public string Place { get; init; } = Service;

    /// <summary>The only endpoint that connections here go to, by the name that it has in its site; null: any.</summary>
    public string? Host { get; init; }

    /// <summary>UDP instead of TCP.</summary>
    public bool Datagrams { get; init; }

    /// <summary>A client's flow that carried nothing for this long is over. Default 60 s.</summary>
    public TimeSpan FlowIdle { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Clients speak mutual TLS, and are who their certificates name (<see cref="ICertifiedIngress"/>). TCP only.</summary>
    public bool AsksCertificate { get; init; }

    /// <summary>ALPN names that are offered then, with spaces between; none: ALPN is not spoken.</summary>
    public string Protocols { get; init; } = "";
}
