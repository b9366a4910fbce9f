using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Fabric.Identity.Storage;

namespace Fabric.Identity.Joining;

/// <summary>
/// Tokens that were handed out, in a folder that processes share: <c>ID.json</c> holds whom a token is for, the SHA-256 of its
/// secret and its expiry. Using it creates <c>ID.used</c> exclusively (O_EXCL), on disk before a certificate is issued: of any
/// number of processes that redeem at once, one creates it. Both files go a week after expiry. At most <see cref="MaxTokens"/>.
/// </summary>
public sealed class JoinTokens
{
    public static readonly TimeSpan DefaultLife = TimeSpan.FromHours(1);
    public static readonly TimeSpan MaxLife = TimeSpan.FromDays(30);
    public const int MaxTokens = 10_000;
    private static readonly TimeSpan KeptAfterExpiry = TimeSpan.FromDays(7);

    private readonly string _dir;
    private readonly TimeProvider _time;

    internal JoinTokens(string dir, TimeProvider time) => (_dir, _time) = (dir, time);

    internal JoinToken Create(GatewayId id, TimeSpan life, byte[] rootFingerprint, IReadOnlyList<string> addresses)
    {
        if (life <= TimeSpan.Zero || life > MaxLife)
        {
            throw new ArgumentException($"a token lives for more than 0 and at most {MaxLife.TotalDays:0} days, not {life}");
        }

        if (addresses.Count > JoinToken.MaxAddresses)
        {
            throw new ArgumentException($"a token holds at most {JoinToken.MaxAddresses} addresses, not {addresses.Count}");
        }

        if (addresses.FirstOrDefault(a => !JoinToken.IsAddress(a)) is { } bad)
        {
            throw new ArgumentException($"address \"{bad}\" is not host:port");
        }

        SafeFile.MakeFolder(_dir);
        Sweep();
        var token = new JoinToken
        {
            TrustDomain = id.TrustDomain,
            Site = id.Site,
            Gateway = id.Gateway,
            Id = RandomNumberGenerator.GetBytes(8),
            Secret = RandomNumberGenerator.GetBytes(32),
            RootFingerprint = rootFingerprint,
            Addresses = addresses,
            Expires = DateTimeOffset.FromUnixTimeSeconds((_time.GetUtcNow() + life).ToUnixTimeSeconds()),
        };
        var entry = new Entry(id.TrustDomain, id.Site, id.Gateway, Convert.ToHexStringLower(SHA256.HashData(token.Secret)),
            token.Expires.ToUnixTimeSeconds());
        SafeFile.Write(EntryPath(token.Id), JsonSerializer.Serialize(entry));
        return token;
    }

    /// <summary>
    /// Says whom the token is for, and does not use it up. Throws <see cref="JoinException"/>: TokenUnknown (also for a wrong
    /// secret, compared in constant time), TokenUsed, TokenExpired.
    /// </summary>
    internal GatewayId Find(ReadOnlySpan<byte> id, ReadOnlySpan<byte> secret)
    {
        var entry = Check(id, secret);
        return new GatewayId(entry.TrustDomain, entry.Site, entry.Gateway);
    }

    /// <summary>Uses up the token and says whom it is for. Throws as <see cref="Find"/> does.</summary>
    internal GatewayId Redeem(ReadOnlySpan<byte> id, ReadOnlySpan<byte> secret)
    {
        var entry = Check(id, secret);
        try
        {
            SafeFile.CreateNew(UsedPath(id), Encoding.UTF8.GetBytes($"{_time.GetUtcNow():u}\n"));
            SafeFile.SyncFolder(_dir);
        }
        catch (IOException) when (File.Exists(UsedPath(id)))
        {
            throw Used(entry);
        }

        return new GatewayId(entry.TrustDomain, entry.Site, entry.Gateway);
    }

    private Entry Check(ReadOnlySpan<byte> id, ReadOnlySpan<byte> secret)
    {
        var entry = id.Length == 8 ? Read(EntryPath(id)) : null;
        var expected = entry is null ? new byte[32] : Convert.FromHexString(entry.SecretSha256);
        if (!CryptographicOperations.FixedTimeEquals(SHA256.HashData(secret), expected) || entry is null)
        {
            throw new JoinException(JoinFailure.TokenUnknown, "this authority knows no such token");
        }

        if (File.Exists(UsedPath(id)))
        {
            throw Used(entry);
        }

        var expires = DateTimeOffset.FromUnixTimeSeconds(entry.Expires);
        return _time.GetUtcNow() < expires ? entry : throw new JoinException(JoinFailure.TokenExpired,
            $"the token for {entry.Site}/{entry.Gateway} expired at {expires:u}; make a new one with `fabric token create`");
    }

    /// <summary>Removes what expired more than a week ago, and refuses when too many are left.</summary>
    private void Sweep()
    {
        var count = 0;
        foreach (var path in Directory.EnumerateFiles(_dir, "*.json"))
        {
            if (Read(path) is { } entry
                && _time.GetUtcNow() < DateTimeOffset.FromUnixTimeSeconds(entry.Expires) + KeptAfterExpiry)
            {
                count++;
                continue;
            }

            // The entry first: a mark without an entry redeems nothing, an entry without its mark would redeem again.
            File.Delete(path);
            File.Delete(Path.ChangeExtension(path, ".used"));
        }

        if (count >= MaxTokens)
        {
            throw new InvalidOperationException($"{count} tokens are outstanding; the limit is {MaxTokens}");
        }
    }

    private static Entry? Read(string path)
    {
        try
        {
            return JsonSerializer.Deserialize<Entry>(SafeFile.ReadText(path)) is { SecretSha256.Length: 64 } entry ? entry : null;
        }
        catch (Exception e) when (e is JsonException or InvalidDataException
            or FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }

    private static JoinException Used(Entry entry) => new(JoinFailure.TokenUsed,
        $"the token for {entry.Site}/{entry.Gateway} has been used; each is good once. "
        + "Make a new one with `fabric token create`");

    private string EntryPath(ReadOnlySpan<byte> id) => Path.Combine(_dir, Convert.ToHexStringLower(id) + ".json");

    private string UsedPath(ReadOnlySpan<byte> id) => Path.Combine(_dir, Convert.ToHexStringLower(id) + ".used");

    private sealed record Entry(string TrustDomain, string Site, string Gateway, string SecretSha256, long Expires);
}
