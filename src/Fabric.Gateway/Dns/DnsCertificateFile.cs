using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Fabric.Gateway.Dns;

/// <summary>
/// The certificate of DNS over TLS out of two PEM files that somebody else renews: the certificate with its intermediates, and its
/// key. Read again when one of them was written, looked at every 10 s at most; what cannot be read leaves the last one in use.
/// </summary>
public sealed class DnsCertificateFile
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(10);

    private readonly string _certificate;
    private readonly string _key;
    private readonly TimeProvider _time;
    private readonly Lock _lock = new();
    private (DateTime, DateTime) _written;
    private long _looked;
    private SslStreamCertificateContext _context;

    /// <param name="paths"><c>CERT,KEY</c>.</param>
    /// <param name="time">For the interval.</param>
    /// <exception cref="InvalidDataException">It is not two paths, or a file is not what it should be.</exception>
    /// <exception cref="IOException">A file cannot be read.</exception>
    public DnsCertificateFile(string paths, TimeProvider time)
    {
        if (paths.Split(',') is not [{ Length: > 0 } certificate, { Length: > 0 } key])
        {
            throw new InvalidDataException($"the certificate of DNS over TLS is given as CERT,KEY, two PEM files, not \"{paths}\"");
        }

        (_certificate, _key, _time, _looked) = (certificate, key, time, time.GetTimestamp());
        (_written, _context) = (Written(), Load());
    }

    public SslStreamCertificateContext Current
    {
        get
        {
            lock (_lock)
            {
                if (_time.GetElapsedTime(_looked) >= Interval)
                {
                    _looked = _time.GetTimestamp();
                    Look();
                }

                return _context;
            }
        }
    }

    private void Look()
    {
        try
        {
            var written = Written();
            if (written != _written)
            {
                _context = Load();
                _written = written;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            // Half-written, perhaps: looked at again.
        }
    }

    private (DateTime, DateTime) Written() => (File.GetLastWriteTimeUtc(_certificate), File.GetLastWriteTimeUtc(_key));

    private SslStreamCertificateContext Load()
    {
        try
        {
            var chain = new X509Certificate2Collection();
            chain.ImportFromPemFile(_certificate);
            using var pair = X509Certificate2.CreateFromPemFile(_certificate, _key);
            // A key that was never stored cannot be used on Windows.
            var leaf = X509CertificateLoader.LoadPkcs12(pair.Export(X509ContentType.Pfx), null);
            return SslStreamCertificateContext.Create(leaf, [.. chain.Skip(1)], offline: true);
        }
        catch (CryptographicException e)
        {
            throw new InvalidDataException($"{_certificate} and {_key} are not a certificate and its key as PEM: {e.Message}", e);
        }
    }
}
