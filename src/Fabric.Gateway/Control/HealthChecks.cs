namespace Fabric.Gateway.Control;

/// <summary>
/// What an orchestrator asks. Each answers with what is wrong, one sentence each; nothing is when all is well.
/// </summary>
/// <param name="Live">The loops turn: the state loop has looked at everything lately, and each event loop has done what it was asked. A process that is not
/// live is to be restarted: it will not come back by itself.</param>
/// <param name="Ready">The gateway serves: a topology is accepted, the certificate is valid, every address is listened on, and it is not draining.</param>
/// <param name="Started">The first topology was applied. Until then, that it is not ready says nothing.</param>
internal sealed record HealthChecks(
    Func<IReadOnlyList<string>> Live, Func<IReadOnlyList<string>> Ready, Func<IReadOnlyList<string>> Started);
