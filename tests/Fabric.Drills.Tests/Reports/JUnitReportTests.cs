using System.Xml;
using System.Xml.Linq;
using System.Xml.Schema;
using Fabric.Drills.Reports;

namespace Fabric.Drills.Tests.Reports;

public sealed class JUnitReportTests
{
    /// <summary>What readers of JUnit XML agree on (Ant's junitreport, Jenkins, GitLab): elements, their order, and the attributes that they need.</summary>
    private const string Schema = """
        <xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
          <xs:element name="testsuites"><xs:complexType>
            <xs:sequence><xs:element ref="testsuite" maxOccurs="unbounded"/></xs:sequence>
            <xs:attribute name="name"/><xs:attribute name="tests" type="xs:nonNegativeInteger"/><xs:attribute name="failures" type="xs:nonNegativeInteger"/>
            <xs:attribute name="errors" type="xs:nonNegativeInteger"/><xs:attribute name="time" type="xs:decimal"/>
          </xs:complexType></xs:element>
          <xs:element name="testsuite"><xs:complexType>
            <xs:sequence>
              <xs:element name="properties" minOccurs="0"><xs:complexType><xs:sequence><xs:element name="property" maxOccurs="unbounded"><xs:complexType>
                <xs:attribute name="name" use="required"/><xs:attribute name="value" use="required"/></xs:complexType></xs:element></xs:sequence></xs:complexType></xs:element>
              <xs:element name="testcase" minOccurs="0" maxOccurs="unbounded"><xs:complexType>
                <xs:choice minOccurs="0"><xs:element name="failure" type="bad"/><xs:element name="error" type="bad"/></xs:choice>
                <xs:attribute name="classname" use="required"/><xs:attribute name="name" use="required"/><xs:attribute name="time" type="xs:decimal" use="required"/>
              </xs:complexType></xs:element>
              <xs:element name="system-out" type="xs:string" minOccurs="0"/>
            </xs:sequence>
            <xs:attribute name="name" use="required"/><xs:attribute name="tests" type="xs:nonNegativeInteger" use="required"/>
            <xs:attribute name="failures" type="xs:nonNegativeInteger" use="required"/><xs:attribute name="errors" type="xs:nonNegativeInteger" use="required"/>
            <xs:attribute name="skipped" type="xs:nonNegativeInteger"/><xs:attribute name="time" type="xs:decimal" use="required"/>
            <xs:attribute name="timestamp" type="xs:dateTime" use="required"/>
          </xs:complexType></xs:element>
          <xs:complexType name="bad"><xs:simpleContent><xs:extension base="xs:string">
            <xs:attribute name="message" use="required"/><xs:attribute name="type" use="required"/></xs:extension></xs:simpleContent></xs:complexType>
        </xs:schema>
        """;

    [Fact]
    public void A_run_that_held_is_green()
    {
        var suite = Suite(SampleRecord.Build());
        Assert.Equal(("cut-dx", "0", "0", "75.600", "2026-03-14T09:30:00"),
            (Of(suite, "name"), Of(suite, "failures"), Of(suite, "errors"), Of(suite, "time"), Of(suite, "timestamp")));
        Assert.Equal(["outcome", "steady state before", "detectionMsMax", "pauseMsMax", "requestsFailedMax", "connectionsDroppedMax", "bytesLostMax", "recoveryMsMax",
            "sites", "links", "paths", "window", "dark at paris-1", "slow-vpn at virginia-1"], suite.Elements("testcase").Select(c => Of(c, "name")));
        Assert.Equal(Of(suite, "tests"), suite.Elements("testcase").Count().ToString());
    }

    [Fact]
    public void A_budget_that_did_not_hold_is_a_failure_and_what_is_still_in_force_an_error()
    {
        var suite = Suite(SampleRecord.Build(fails: true));
        Assert.Equal(("2", "1"), (Of(suite, "failures"), Of(suite, "errors")));
        var failure = suite.Elements("testcase").Single(c => Of(c, "name") == "requestsFailedMax").Element("failure")!;
        Assert.Equal("expected 0, seen 17: 12 connection reset, 5 no answer within 5 s", Of(failure, "message"));
        Assert.NotNull(suite.Elements("testcase").Single(c => Of(c, "name") == "slow-vpn at virginia-1").Element("error"));
    }

    [Theory]
    [InlineData(DrillOutcome.Refused, "failure")]
    [InlineData(DrillOutcome.Aborted, "error")]
    [InlineData(DrillOutcome.NotReverted, "error")]
    public void A_run_that_was_stopped_before_its_verdicts_is_red(DrillOutcome outcome, string element)
    {
        var suite = Suite(SampleRecord.Build() with { Outcome = outcome, Why = "because", Verdicts = [], Actions = [], Guards = [] });
        Assert.Equal("because", Of(Assert.Single(suite.Elements("testcase")).Element(element)!, "message"));
    }

    [Fact]
    public void Hostile_names_are_text()
    {
        var suite = Suite(Hostile.Build());
        Assert.Contains("<script>document.title='owned'</script>", Of(suite, "name"));
        Assert.Empty(suite.Descendants("script"));
    }

    private static string Of(XElement element, string attribute) => element.Attribute(attribute)!.Value;

    /// <summary>The one suite of a report that the schema allows.</summary>
    private static XElement Suite(DrillRecord record)
    {
        var document = XDocument.Parse(JUnitReport.Write(record));
        var schemas = new XmlSchemaSet();
        using var schema = XmlReader.Create(new StringReader(Schema));
        schemas.Add(null, schema);
        document.Validate(schemas, (_, e) => Assert.Fail(e.Message));
        return Assert.Single(document.Root!.Elements());
    }
}
